"""Abilities, benchmarks and gains as assets: on answers drawn from known abilities, and each check where it fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from dagster_project.analyses.skills import gaps
from dagster_project.analyses.skills.analysis import READS
from dagster_project.analyses.skills.gaps import GAPS
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.defs.resources import WarehouseResource
from dagster_project.defs.skills import checks
from dagster_project.defs.skills.assets import TABLES, skill_gaps, skills
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse

SKILL = "uni:S"
CHECKS = [
    checks.skill_scales_hold_courses_that_are_placed,
    checks.skill_scales_have_converged,
    checks.skill_scales_have_anchors_that_stayed,
    checks.skill_items_fit,
    checks.skill_abilities_are_within_bounds_and_withheld_when_uncertain,
    checks.skill_benchmarks_are_within_bounds_and_hide_small_groups,
]
LEARNERS, QUESTIONS = 900, 16
COURSES = ("basic", "middle", "hard")


class Built(NamedTuple):
    settings: Settings
    result: dg.ExecuteInProcessResult
    effects: pd.Series


def tables() -> tuple[dict[str, pd.DataFrame], pd.Series]:
    """Two courses each learner, a month apart; twelve employers whose people differ, one of them with few."""
    rng = np.random.default_rng(11)
    sizes = np.r_[np.full(11, 60), 4]
    employer = np.r_[np.repeat(np.arange(12), sizes), np.full(LEARNERS - sizes.sum(), -1)]
    effect = np.linspace(-0.9, 0.9, 12)
    ability = rng.standard_normal(LEARNERS) + np.where(employer >= 0, effect[employer], 0.0)
    slope, difficulty = rng.uniform(1.0, 1.8, (3, QUESTIONS)), rng.normal([[-0.5], [0.0], [0.5]], 0.7, (3, QUESTIONS))
    rows, taken = [], []
    for learner in range(LEARNERS):
        chosen = rng.permutation(3)[:2]
        for k, course in enumerate(chosen):
            harder = np.zeros(QUESTIONS)
            harder[0] = 1.5 * (course == 1 and 0 not in chosen)  # middle0, for who studies in Spanish only
            chance = 1 / (1 + np.exp(-slope[course] * (ability[learner] - difficulty[course] - harder)))
            right = (rng.random(QUESTIONS) < chance).astype(int)
            day = pd.Timestamp("2025-03-01") + pd.Timedelta(days=30 * k)
            taken.append((f"L{learner}", COURSES[course], day, "pass" if k == 0 and learner % 3 == 0 else "fail"))
            rows += [(f"L{learner}", f"{COURSES[course]}{q}", COURSES[course], day, r) for q, r in enumerate(right)]
    response = pd.DataFrame(rows, columns=["learner_key", "question_key", "course_key", "answered_on", "category"])
    enrolled = pd.DataFrame(taken, columns=["learner_key", "course_key", "day", "outcome"])
    enrolled["course_enrollment_key"] = enrolled.index.astype(str)
    members = employer >= 0
    learners = [f"L{k}" for k in range(LEARNERS)]
    organizations = [f"E{k}" for k in range(12)]
    response["score_share"] = response["category"].astype(float)
    return (
        {
            "marts.mart_skill_response": response.assign(source="uni", skill_key=SKILL, item_id=response["course_key"]),
            "marts.mart_organization_member": pd.DataFrame(
                {
                    "learner_key": np.array(learners)[members],
                    "organization_key": np.array(organizations)[employer[members]],
                    "is_main": True,
                }
            ),
            "core.dim_course": pd.DataFrame(
                {
                    "course_key": COURSES,
                    "level": ["basic", "intermediate", "advanced"],
                    "language": ["en", "es", "es"],
                    "program_key": [None, None, "uni:P"],
                }
            ),
            "core.dim_course_skill": pd.DataFrame({"course_key": COURSES, "skill_key": SKILL}),
            "core.dim_learner": pd.DataFrame({"learner_key": learners, "country": rng.choice(["ES", "IN"], LEARNERS)}),
            "core.dim_organization": pd.DataFrame(
                {"organization_key": organizations, "industry": "retail", "country": "ES", "size_band": "1-50"}
            ),
            "core.dim_source": pd.DataFrame({"source": ["uni"], "last_data_on": [pd.Timestamp("2025-06-30")]}),
            "core.fct_course_enrollment": enrolled.assign(
                source="uni",
                course_offering_key=enrolled["course_key"],
                completed_on=enrolled["day"],  # the day of the answers: they are given before it counts
                outcome_known_on=enrolled["day"] + pd.Timedelta(days=20),
            ),
            "core.dim_course_offering": pd.DataFrame({"course_offering_key": COURSES, "ends_on": [pd.NaT] * 3}),
            "core.fct_program_enrollment": pd.DataFrame(
                {"program_enrollment_key": learners[:5], "learner_key": learners[:5], "program_key": "uni:P"}
            ),
        },
        pd.Series(effect, organizations),
    )


def fill(settings: Settings, made: dict[str, pd.DataFrame]) -> None:
    settings.build_database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        for schema in ("core", "marts", "features", "analytics"):
            connection.execute(f"create schema if not exists {schema}")
        for name, frame in made.items():
            days = [column for column in frame if frame[column].dtype.kind == "M"]
            casts = ", ".join(f"{day}::date as {day}" for day in days)
            connection.register("frame", frame)
            columns = f"* replace ({casts})" if days else "*"
            connection.execute(f"create or replace table {name} as select {columns} from frame")
        for name in {*READS, *gaps.READS}:
            if name.startswith("features."):  # the model's own SQL, over the tables made here
                sql = (REPOSITORY / "dbt" / "models" / f"{name.replace('.', '/')}.sql").read_text()
                sql = re.sub(r'{{ ref\("(\w+)"\) }}', r"core.\1", sql)
                connection.execute(f"create or replace view {name} as {sql}")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[Built]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path_factory.mktemp("skills")))
        settings = Settings()
        made, effects = tables()
        fill(settings, made)
        result = dg.materialize([skills, skill_gaps, *CHECKS], resources={"warehouse": WarehouseResource()})
        assert result.success
        yield Built(settings, result, effects)


def test_every_check_passes_and_every_table_is_written(built):
    evaluations = built.result.get_asset_check_evaluations()
    assert len(evaluations) == len(CHECKS)
    assert all(evaluation.passed and evaluation.blocking for evaluation in evaluations)
    counts = Warehouse(built.settings).row_counts([*TABLES, GAPS])
    assert all(counts[table] for table in (*TABLES, GAPS)), counts


def test_employers_stand_where_they_were_put_and_the_small_one_is_not_told(built):
    rows = Warehouse(built.settings).read("analytics.skill_benchmarks", where="comparison = 'all'")
    rows = rows.set_index("organization_key")
    assert not rows.loc["E11", "is_shown"]
    shown = rows[rows["is_shown"]]
    planted = built.effects.reindex(shown.index)
    slope, _ = np.polyfit(planted, shown["mean_ability"].astype(float), 1)
    # The unit of the scale is the sd of everybody: with these employers 1.1 of the planted one.
    assert slope * np.sqrt(1 + planted.var()) == pytest.approx(1.0, abs=0.12)


def test_a_course_of_a_degree_is_recommended_to_nobody_whom_its_program_has_not_admitted(built):
    gaps = Warehouse(built.settings).read(GAPS)
    assert "hard" not in set(gaps["course_key"])


def test_functioning_is_compared_between_languages_too(built):
    items = Warehouse(built.settings).read("analytics.skill_items")
    items = items.set_index("question_key")
    assert items.loc["middle0", ["dif_language", "dif_language_class"]].tolist() == ["es", "C"]
    assert items.loc["middle0", "dif_language_delta"] < -1.5
    assert (items["dif_language_class"].drop("middle0") == "C").sum() == 0


def test_where_nobody_completed_a_course_there_are_no_gains_and_the_reason(settings):
    made, _ = tables()
    enrolled = made["core.fct_course_enrollment"].assign(outcome="fail")
    fill(settings, made | {"core.fct_course_enrollment": enrolled})
    result = dg.materialize([skills, skill_gaps], resources={"warehouse": WarehouseResource()}, raise_on_error=False)
    assert result.success
    store = Warehouse(settings)
    contract = {column.name: column.data_type.upper() for column in CONTRACTS["analytics.skill_course_gains"].columns}
    types = {name: kind for name, (kind, _) in store.columns()["analytics.skill_course_gains"].items()}
    assert types == contract
    assert store.row_count("analytics.skill_course_gains") == 0
    (scale,) = store.read("analytics.skill_scales").to_dict("records")
    assert scale["bank_version"] is not None
    assert scale["course_gain_reason"] == "nobody answered before and after completing a course"


def test_growth_is_told_by_quarter_of_learners_whose_ability_is_shown(built):
    store = Warehouse(built.settings)
    growth = store.read("analytics.skill_growth")
    shown = store.read("analytics.skill_abilities", where="is_shown").set_index("learner_key")
    assert set(growth["learner_key"]) == set(shown.index)
    # Courses are answered on March 1 and March 31: one quarter, at whose end the ability is the shown one.
    assert set(growth["quarter_starts_on"].astype(str)) == {"2025-01-01"}
    assert np.allclose(growth["ability"], shown["ability"].reindex(growth["learner_key"]))
    assert (growth["gained"] == 0).all()


def test_all_three_courses_have_their_place_on_the_scale(built):
    courses = Warehouse(built.settings).read("analytics.skill_courses").set_index("course_key")
    assert courses["is_on_scale"].all()
    assert courses.loc["basic", "location"] < courses.loc["middle", "location"] < courses.loc["hard", "location"]


def test_a_new_question_is_added_the_next_day_and_a_month_later_everything_is_linked(settings):
    """The scale stays where it is: the new question enters on it, and so does the next calibration."""
    made, _ = tables()
    fill(settings, made)
    run = [skills]
    assert dg.materialize(run, resources={"warehouse": WarehouseResource()}).success
    store = Warehouse(settings)
    first = store.read("analytics.skill_abilities", where="is_shown").set_index("learner_key")["ability"]
    known = store.read("analytics.skill_items").set_index("question_key")["difficulty"]

    # A question of the easy course like basic0, answered as basic0 was: right by the same learners but for noise.
    answers = made["marts.mart_skill_response"]
    copied = answers[answers["question_key"] == "basic0"].assign(question_key="basic99")
    flipped = np.random.default_rng(3).random(len(copied)) < 0.05
    copied["category"] = np.where(flipped, 1 - copied["category"], copied["category"])
    more = {"marts.mart_skill_response": pd.concat([answers, copied], ignore_index=True)}
    day = {"core.dim_source": pd.DataFrame({"source": ["uni"], "last_data_on": [pd.Timestamp("2025-07-01")]})}
    fill(settings, made | more | day)
    assert dg.materialize(run, resources={"warehouse": WarehouseResource()}).success
    items = store.read("analytics.skill_items").set_index("question_key")
    assert items.loc["basic99", "status"] == "added"
    assert items.loc["basic99", "bank_version"] == "2025-06-30.1"
    assert items.loc["basic99", "difficulty"] == pytest.approx(known["basic0"], abs=0.3)
    assert items["difficulty"].drop("basic99").equals(known)

    later = {"core.dim_source": pd.DataFrame({"source": ["uni"], "last_data_on": [pd.Timestamp("2025-08-10")]})}
    fill(settings, made | more | later)
    assert dg.materialize(run, resources={"warehouse": WarehouseResource()}).success
    (scale,) = store.read("analytics.skill_scales").to_dict("records")
    assert scale["bank_version"] == "2025-08-10"
    assert scale["anchor_count"] == 3 * QUESTIONS + 1
    assert abs(scale["link_shift"]) < 0.05
    assert scale["link_scale"] == pytest.approx(1.0, abs=0.05)
    again = store.read("analytics.skill_abilities", where="is_shown").set_index("learner_key")["ability"]
    both = pd.concat([first, again], axis=1, keys=["first", "again"]).dropna()
    assert both.corr().iloc[0, 1] > 0.98
    assert abs((both["again"] - both["first"]).mean()) < 0.03


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        (
            "update analytics.skill_scales set largest_course_error = 0.31",
            checks.skill_scales_hold_courses_that_are_placed,
            f"{SKILL}: a course is placed with a standard error of 0.31",
        ),
        (
            "update analytics.skill_scales set largest_course_error = 0.195, link_scale = 0.95",
            checks.skill_scales_hold_courses_that_are_placed,
            f"{SKILL}: a course is placed with a standard error of 0.21",
        ),
        (
            "update analytics.skill_scales set largest_course_error = null",
            checks.skill_scales_hold_courses_that_are_placed,
            SKILL,
        ),
        (
            "update analytics.skill_scales set has_converged = false",
            checks.skill_scales_have_converged,
            f"{SKILL}: no convergence",
        ),
        (
            "update analytics.skill_scales set anchor_count = 40, moved_anchor_share = 0.4, link_scale = 1, "
            "link_shift = 0",
            checks.skill_scales_have_anchors_that_stayed,
            f"{SKILL}: 40% of 40 anchors moved",
        ),
        (
            "update analytics.skill_scales set anchor_count = 40, moved_anchor_share = 0, link_scale = 1, "
            "link_shift = -0.6",
            checks.skill_scales_have_anchors_that_stayed,
            "-0.60 sd",
        ),
        (
            "update analytics.skill_scales set reason = '3 anchors'",
            checks.skill_scales_have_anchors_that_stayed,
            "not linked",
        ),
        (
            "update analytics.skill_scales set misfit_share = 0.2",
            checks.skill_items_fit,
            f"{SKILL}: 20% of the answers",
        ),
        (
            "update analytics.skill_abilities set percentile = percentile_high + 1 where is_shown",
            checks.skill_abilities_are_within_bounds_and_withheld_when_uncertain,
            "rows wrong",
        ),
        (
            "update analytics.skill_abilities set is_shown = false where is_shown",
            checks.skill_abilities_are_within_bounds_and_withheld_when_uncertain,
            "rows leaked",
        ),
        (
            "update analytics.skill_benchmarks set percentile_high = 101 where organization_percentile is not null",
            checks.skill_benchmarks_are_within_bounds_and_hide_small_groups,
            "percentile out of bounds",
        ),
        (
            "update analytics.skill_benchmarks set member_count = 9 where is_shown",
            checks.skill_benchmarks_are_within_bounds_and_hide_small_groups,
            "fewer than 10 members",
        ),
        (
            "update analytics.skill_benchmarks set mean_ability = 0.1 where not is_shown",
            checks.skill_benchmarks_are_within_bounds_and_hide_small_groups,
            "hidden, and yet a figure",
        ),
    ],
)
def test_each_check_fails_where_its_claim_is_false(built, check_after, statement, check, words):
    result = check_after(built.settings, statement, check)
    assert not result.passed
    assert any(words in error for error in result.metadata["found"].data), result.metadata["found"].data


def test_the_error_of_a_course_is_judged_in_the_unit_that_chose_it(built, check_after):
    """A standard error of .198 sd is .204 after a link that turns an sd of its calibration into 1.03 of the first's."""
    result = check_after(
        built.settings,
        "update analytics.skill_scales set largest_course_error = 0.204, link_scale = 1.03",
        checks.skill_scales_hold_courses_that_are_placed,
    )
    assert result.passed, result.metadata
