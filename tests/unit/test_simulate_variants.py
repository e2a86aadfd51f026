"""Variants of what is planted about skills: each changes what it says and nothing else."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dagster_project import simulate
from dagster_project.simulate import truth, variants
from dagster_project.simulate.history import (
    course_level,
    later_courses,
    later_terms,
    open_content,
    open_courses,
    open_population,
)
from dagster_project.simulate.population import Population, draw
from dagster_project.simulate.skills import SKILLS, abilities, bank
from dagster_project.simulate.trajectories import Trajectories

SEED, STUDENTS = 3, 120
# Of the answers and course enrollments of SEED and STUDENTS, as they were before there were variants.
AS_BEFORE = "21286088baab472626d4ed22a950cf7785003ffc2b92262ace58dad1c05b7579"


@pytest.fixture(scope="module")
def university(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Path]:
    """Folders of the landing files, the truth beside them, by variant."""
    folder = tmp_path_factory.mktemp("variants")
    found = {}
    for variant in (None, *simulate.VARIANTS):
        found[variant] = folder / str(variant) / "landing"
        simulate.write(found[variant], truth_of(found[variant]), SEED, STUDENTS, skills=variant)
    return found


def truth_of(landing: Path, name: str = "truth.json") -> Path:
    return landing.with_name(name)


def hashes(landing: Path) -> dict[str, str]:
    files = [path for path in sorted(landing.rglob("*.*")) if path.name != simulate.MANIFEST]
    return {str(path.relative_to(landing)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def told(landing: Path) -> dict:
    return json.loads(truth_of(landing).read_text())


def test_without_a_variant_answers_and_enrollments_are_as_before(university: dict[str | None, Path]) -> None:
    found = hashes(university[None])
    ours = [found[name] for name in sorted(found) if name.startswith("responses/") or name == "course_enrollments.csv"]
    assert hashlib.sha256("".join(ours).encode()).hexdigest() == AS_BEFORE
    assert "skill_variant" not in told(university[None])


@pytest.mark.parametrize("variant", simulate.VARIANTS)
def test_a_variant_changes_no_driver_and_no_outcome(university: dict[str | None, Path], variant: str) -> None:
    before, after = hashes(university[None]), hashes(university[variant])
    changed = {name.partition("/")[0] for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    of_open_content = {"course_enrollments.csv", "credentials.csv", "submissions", "submission_marks", "events"}
    of_later_terms = {"interventions.csv", "program_enrollments.csv"}
    permitted = {
        "hidden": {"responses"} | of_open_content,
        "shock": {"responses"},
        "chosen": {"responses"} | of_open_content | of_later_terms,
        "growth": {"responses"},
    }
    assert "responses" in changed
    assert changed <= permitted[variant]
    learners = pd.read_csv(university[None] / "program_enrollments.csv").drop_duplicates("learner_id")
    firsts = set(zip(learners["learner_id"], learners["first_term_id"], strict=True))

    def of_first_terms(landing: Path) -> pd.DataFrame:
        frame = pd.read_csv(landing / "course_enrollments.csv", dtype=str).query("enrolled_at < '2025-12'")
        keys = ["learner_id", "course_id", "term_id"]
        frame = frame.sort_values([*keys, "enrolled_at"]).drop_duplicates(keys, keep="last")  # who enrolled again
        keep = [key in firsts for key in zip(frame["learner_id"], frame["term_id"], strict=True)]
        return frame.loc[keep, [*keys, "dropped_on", "completed_on", "final_grade"]].reset_index(drop=True)

    pd.testing.assert_frame_equal(of_first_terms(university[variant]), of_first_terms(university[None]))
    assert len(of_first_terms(university[variant])) > STUDENTS
    assert told(university[variant])["skill_variant"] == variant
    assert told(university[variant])["drivers"] == told(university[None])["drivers"]


def population(variant: str | None) -> tuple[Population, np.ndarray, np.ndarray]:
    """A population, the general abilities of all learners, and those in each skill."""
    people = draw(SEED, 4000, truth.solved(), skill_variant=variant)
    _, others = open_population(people)
    return people, variants.general_ability(people, others), abilities(people, others)


def test_background_tells_half_of_general_ability_and_its_variance_stays() -> None:
    (people, general, theta), (_, known, before) = population("hidden"), population(None)
    n = len(people)
    explained = np.corrcoef(general[:n], people.learners["ability"])[0, 1] ** 2
    assert explained == pytest.approx(0.5, abs=0.03)
    assert general[:n].var() == pytest.approx(known[:n].var(), abs=0.05)
    np.testing.assert_array_equal(known[:n], people.learners["ability"])
    # Of learners of open content no background tells anything, with the variant or without.
    np.testing.assert_array_equal(general[n:], known[n:])
    # What is a skill's own stays.
    np.testing.assert_allclose(theta - before, 0.7 * (general - known)[:, None] * np.ones(len(SKILLS)), atol=1e-12)


def test_a_shock_moves_all_questions_of_a_course_and_skill_alike(university: dict[str | None, Path]) -> None:
    before, after = told(university[None]), told(university["shock"])
    shocks = after["course_shocks"]
    moved = []
    for name, question in after["questions"].items():
        shift = question["difficulty"] - before["questions"][name]["difficulty"]
        course = name.partition("-")[0]
        expected = 0.0 if course.startswith("K") else shocks[course][question["skill"]]
        assert shift == pytest.approx(expected, abs=2e-6)
        assert question["slope"] == before["questions"][name]["slope"]
        moved.append(shift)
    assert np.std([x for pair in shocks.values() for x in pair.values()]) == pytest.approx(0.4, abs=0.03)
    assert len(set(np.round(moved, 4))) > 500


def test_courses_are_taken_by_learners_who_are_more_or_less_able_in_their_skills() -> None:
    people, _, theta = population("chosen")
    skills, shifts = bank(people).course_skills, variants.takers_shifts(people)
    opens, n = open_courses(people), len(people)
    assert set(np.unique(np.abs(shifts))) == {0.35}

    def takers(course: np.ndarray, learner: np.ndarray) -> pd.DataFrame:
        rows = [(course, np.sign(shifts[course, k]), theta[learner, skills[course, k]]) for k in range(2)]
        columns = ("course", "sign", "ability")
        frame = pd.concat([pd.DataFrame(dict(zip(columns, row, strict=True))) for row in rows])
        return frame.assign(level=course_level(people)[frame["course"]])

    liking = variants.liking(people, theta, skills, opens[None, :])
    opened = open_content(people, np.full(len(theta), np.datetime64("2020-01-01")), liking).enrollments
    mean = takers(opened.course, opened.learner).groupby(["level", "sign"])["ability"].mean().unstack()
    # On average .35 more or less than the others of the level, and more at higher levels.
    assert ((mean[1.0] - mean[-1.0]) / 2).mean() == pytest.approx(0.35, abs=0.06)
    assert (mean.mean(axis=1).diff().dropna() > 0.25).all()
    # In later terms learners take several of few courses.
    of_later = variants.liking(people, theta[:n], skills, later_courses(people))
    later = later_terms(people, of_later).enrollments
    mean = takers(later.course, later.learner).groupby(["level", "sign"])["ability"].mean().unstack()
    assert (mean[1.0] - mean[-1.0] > 0.3).loc[[2, 3]].all()  # level 1: first courses, taken again


def test_learners_choose_in_proportion_to_what_they_like() -> None:
    """Without a liking they take later courses by lot, and a liking that is the same for all changes nothing."""
    people, _, _ = population(None)
    by_lot = later_terms(people).enrollments
    alike = later_terms(people, np.zeros((len(people), 12))).enrollments
    np.testing.assert_array_equal(by_lot.course, alike.course)
    liked = np.where(np.arange(12) == 0, np.log(11), 0.0) * np.ones((len(people), 1))
    taken = later_terms(people, liked).enrollments
    _, first = np.unique(taken.learner, return_index=True)
    favourite = taken.course[first] == later_courses(people)[taken.learner[first], 0]
    assert favourite.mean() == pytest.approx(0.5, abs=0.03)  # 11 of 11 + 11


def test_abilities_grow_and_gains_fade_by_the_day() -> None:
    """Two learners, two skills. Learner 0 grows by .2 a year from day 0 and completes two courses of skill 1."""
    trajectories = Trajectories(
        start=np.array([[0.0, 1.0], [-1.0, -2.0]]),
        since=np.array([0, 100]),
        growth=np.array([0.2, 0.0]),
        forgotten=0.5,
        learner=np.array([0, 1, 0]),
        skill=np.array([1, 0, 1]),
        day=np.array([730, 300, 365]),
        gain=np.array([0.4, 1.0, 0.8]),
    )
    year = 365.25
    expected = [
        # learner, skill, day, ability
        (0, 0, 0, 0.0),
        (0, 0, 365.25 * 2, 0.4),
        (0, 1, 364, 1.0 + 0.2 * 364 / year),
        (0, 1, 365, 1.0 + 0.2 * 365 / year + 0.8),
        (0, 1, 730, 1.0 + 0.2 * 730 / year + 0.4 + 0.4 / 2 + 0.4),  # half of the half of .8 is lost after a year
        (0, 1, 1095, 1.0 + 0.2 * 1095 / year + 0.4 + 0.4 / 4 + 0.2 + 0.2 / 2),
        (1, 0, 299, -1.0),
        (1, 0, 300, 0.0),
        (1, 0, 1030, -1.0 + 0.5 + 0.5 / 4),
        (1, 1, 1030, -2.0),
    ]
    learner, skill, day, ability = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(trajectories.at(learner, skill, day), ability, atol=1e-12)


def read(landing: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(truth_of(landing, f"truth-{name}.parquet"))


def test_the_truth_tells_abilities_at_the_end_of_quarters(university: dict[str | None, Path]) -> None:
    quarters, last = read(university[None], "abilities-by-quarter"), read(university[None], "abilities")
    ends = quarters["quarter_end"].astype(str)
    assert ends.max() == "2025-10-31"  # the last day of data
    assert set(ends.str[5:]) == {"03-31", "06-30", "09-30", "12-31", "10-31"}
    registered = pd.read_csv(university[None] / "learners.csv", usecols=["learner_id", "registered_at"], nrows=200)
    begun = quarters["learner_id"].map(registered.set_index("learner_id")["registered_at"].str[:10])
    assert (ends >= begun)[begun.notna()].all()
    # Without growth abilities are steps: up by the planted gains only, and at the last answer no more than at the end.
    by_skill = quarters.sort_values("quarter_end").groupby(["learner_id", "skill_id"])["ability"]
    assert by_skill.diff().dropna().min() > -1e-6
    both = last.merge(by_skill.last().reset_index(), on=["learner_id", "skill_id"], suffixes=("", "_at_the_end"))
    assert len(both) == by_skill.ngroups == len(last)
    assert (both["ability_at_the_end"] - both["ability"]).min() > -1e-6
    assert ((both["ability_at_the_end"] - both["ability"]).abs() < 1e-6).mean() > 0.5


def test_learners_grow_and_forget_between_courses(university: dict[str | None, Path]) -> None:
    quarters = read(university["growth"], "abilities-by-quarter")
    wide = quarters.pivot(index=["learner_id", "skill_id"], columns="quarter_end", values="ability")
    wide.columns = wide.columns.astype(str)
    completed = pd.read_csv(university["growth"] / "course_enrollments.csv", dtype=str).dropna(subset="completed_on")
    gained = completed["learner_id"].unique()
    year = (wide["2025-06-30"] - wide["2024-06-30"]).dropna()
    alone = year[~year.index.get_level_values("learner_id").isin(gained)].groupby("learner_id").first()
    assert alone.mean() == pytest.approx(0.05, abs=4 * 0.1 / np.sqrt(len(alone)))
    assert alone.std() == pytest.approx(0.1, rel=0.5)
    assert len(alone) > 20
    last = read(university["growth"], "abilities").merge(
        read(university[None], "abilities"), on=["learner_id", "skill_id"], suffixes=("", "_before")
    )
    assert 0.03 < (last["ability"] - last["ability_before"]).std() < 0.5


def test_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no variant of skills 'other': expected one of hidden, shock, chosen, growth"):
        simulate.write(tmp_path / "landing", tmp_path / "truth.json", 1, 50, skills="other")
