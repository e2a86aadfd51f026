"""Abilities of a school of somebody else's making (tests/skill_school.py), beside what nobody can do better.

    python -m pytest -m slow -s tests/statistics/test_skill_school.py       # prints the table

The yardstick is tests/skill_school_oracle.py: it knows the questions and what courses add, and scores the same answers.
"""

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from dagster_project.contracts.source import read_contracts
from dagster_project.settings import REPOSITORY
from tests.skill_school import CHECK, PARTNER_COURSE, PARTNER_LEARNERS, make_school, write_landing
from tests.skill_school_oracle import FEWEST_ANSWERS, agreement, in_planted_unit, oracle
from tests.skill_school_product import by_slopes, measured

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = range(1, 11)


@pytest.fixture(scope="module")
def school():
    return make_school(1)


@pytest.fixture(scope="module")
def best(school):
    return oracle(school)


@pytest.fixture(scope="module")
def table():
    """What the oracle reaches, by seed and skill."""
    tables = {}
    for seed in SEEDS:
        made = make_school(seed)
        tables[seed] = agreement(made, oracle(made))
    return pd.concat(tables, names=["seed", "skill"])


def test_the_school_is_as_its_list_says(school):
    answers, first = school.answers, school.answers.query("attempt == 1")
    assert len(school.learners) == 5600
    assert np.mean([len(make_school(seed).answers) for seed in SEEDS]) == pytest.approx(146_900, rel=0.01)

    at_check = answers[answers["course"] == CHECK]
    assert at_check.groupby("learner").size().eq(14).all()
    assert at_check["learner"].nunique() == 5600 - PARTNER_LEARNERS
    joined = at_check.merge(school.learners, on="learner", suffixes=("", "_joined"))
    assert (joined["day"] == joined["day_joined"]).all()

    partner = set(answers.loc[answers["course"] == PARTNER_COURSE, "learner"])
    assert len(partner) > 100
    assert set(answers.loc[answers["learner"].isin(partner), "course"]) == {PARTNER_COURSE}

    last_quiz = first.groupby(["learner", "course"])["day"].max().rename("last")
    completed = school.completions.join(last_quiz, on=["learner", "course"])
    assert (completed["day"] == completed["last"]).all()

    assert not first.duplicated(["learner", "item"]).any()
    assert (answers["attempt"] > 1).mean() > 0.02
    rare = first.groupby("item").size()
    assert (rare < 10).sum() > 20
    span = answers.groupby("learner")["day"].agg(lambda day: day.max() - day.min())
    assert (span > 730).sum() > 100
    assert school.enrollments.groupby("learner").size().mean() > 2

    chosen = school.enrollments.merge(school.courses[["course", "skill"]], on="course")
    chosen = chosen.merge(school.truth.abilities, on=["learner", "skill"])
    assert chosen.groupby("level")["at_joining"].mean().diff().dropna().gt(0.3).all()
    members = school.organizations.groupby("organization").size()
    assert (members >= 10).sum() == 36
    assert (members < 10).sum() == 20


def test_growth_is_the_gain_of_what_was_completed(school):
    gained = school.completions.merge(school.courses, on="course").merge(school.truth.gains, on="course")
    gained = gained.groupby(["learner", "skill"])["gain"].sum()
    planted = school.truth.abilities.set_index(["learner", "skill"])
    expected = planted["at_joining"].add(gained, fill_value=0)
    pd.testing.assert_series_equal(planted["at_end"], expected, check_names=False)
    # What the last quiz of a course completes came after its answers.
    answered = planted.dropna()
    assert (answered["at_last_answer"] <= answered["at_end"]).all()
    assert (planted["at_last_answer"] < planted["at_end"] - 0.01).mean() > 0.2


def test_answers_follow_the_planted_questions(school):
    """On joining, and in courses of learners who have completed nothing before, the ability of the day is known."""
    first = school.answers.query("attempt == 1").merge(school.truth.questions, on="item")
    done = school.completions.groupby("learner")["day"].min().rename("done")
    first = first.join(done, on="learner")
    first = first[first["done"].isna() | (first["day"] <= first["done"])]
    first = first.merge(school.truth.abilities[["learner", "skill", "at_joining"]], on=["learner", "skill"])
    steps = first.filter(like="step_").to_numpy()
    reached = expit(first["slope"].to_numpy()[:, None] * (first["at_joining"].to_numpy()[:, None] - steps))
    expected = np.nansum(reached, axis=1)
    # The variance of the number of reached steps, of which each one reached has all the lower ones reached.
    number = np.arange(1, steps.shape[1] + 1)
    variance = np.nansum((2 * number - 1) * reached, axis=1) - expected**2
    first = first.assign(over=first["category"] - expected, variance=variance)
    by_item = first.groupby("item")[["over", "variance"]].sum()
    z = by_item["over"] / np.sqrt(by_item["variance"])
    assert z.abs().max() < 4.2
    assert z[first.groupby("item").size() >= 100].std() == pytest.approx(1, abs=0.15)


def test_oracle_integrates_what_it_says(school, best):
    """A learner with partial credit and a completed course before the last answers, by another integration."""
    skill = "coding"
    truth = school.truth.questions.set_index("item")
    answers = school.answers.query("attempt == 1").merge(school.questions[["item", "skill"]], on="item")
    answers = answers[answers["skill"] == skill]
    gains = school.completions.merge(school.courses.query("skill == @skill"), on="course")
    gains = gains.merge(school.truth.gains.query("gain > 0"), on="course")
    after = answers.merge(gains[["learner", "day"]], on="learner", suffixes=("", "_done")).query("day > day_done")
    partial = answers.loc[answers["highest_category"] > 1, "learner"]
    learner = min(set(after["learner"]) & set(partial))
    rows, own = answers[answers["learner"] == learner], gains[gains["learner"] == learner]

    def grown(day):
        return own.loc[own["day"] < day, "gain"].sum()

    at_joining = school.truth.abilities.query("skill == @skill")["at_joining"]
    prior = norm(at_joining.mean(), at_joining.std())

    def weight(ability):
        density = prior.pdf(ability)
        for row in rows.itertuples():
            steps = truth.loc[row.item].filter(like="step_").dropna().to_numpy(dtype=float)
            at_least = [1.0, *expit(truth.loc[row.item, "slope"] * (ability + grown(row.day) - steps)), 0.0]
            density *= at_least[row.category] - at_least[row.category + 1]
        return density

    total, mean, square = (quad(lambda x, k=k: x**k * weight(x), -6, 6, epsabs=0)[0] for k in range(3))
    mean, square = mean / total, square / total
    found = best[(best["learner"] == learner) & (best["skill"] == skill)].iloc[0]
    assert grown(rows["day"].max()) > 0
    assert found["answers"] == len(rows)
    assert found["mean"] == pytest.approx(mean + grown(rows["day"].max()), abs=1e-5)
    assert found["sd"] == pytest.approx(np.sqrt(square - mean**2), abs=1e-5)


def test_agreement_does_not_see_the_unit_and_sees_an_error(school, best):
    expected = agreement(school, best)
    in_other_unit = best.assign(mean=3 + 0.7 * best["mean"], sd=0.7 * best["sd"])
    found = agreement(school, in_planted_unit(school, in_other_unit))
    pd.testing.assert_frame_equal(found.drop(columns="held"), expected.drop(columns="held"))
    assert (found["held"] - expected["held"]).abs().max() < 0.01
    noisy = best.assign(mean=best["mean"] + np.random.default_rng(1).normal(0, 0.3, len(best)))
    assert (agreement(school, noisy)["r"] < 0.97 * expected["r"]).all()
    assert (agreement(school, noisy)["held"] < 0.88).all()


def test_oracle_tells_the_truth_as_well_as_these_answers_can(table):
    print(f"\n{table.round(3).to_string()}\n{table.groupby('skill').mean().round(3).to_string()}")
    assert table["held"].between(0.88, 0.94).all()
    assert table["held"].mean() == pytest.approx(0.91, abs=0.01)
    assert table["r"].between(0.77, 0.86).all()
    assert table["r_organizations"].groupby("skill").mean().between(0.9, 0.99).all()
    assert table["learners"].min() > 1500
    assert table["organizations"].min() >= 18


@pytest.fixture(scope="module")
def product():
    """What the product reaches beside the oracle on the same answers, by seed and skill."""
    tables = {}
    for seed in SEEDS:
        made = make_school(seed)
        found = measured(made)
        scores = by_slopes(made, found)
        scores = scores[scores["answers"] >= FEWEST_ANSWERS]
        same = oracle(made).merge(scores[["learner", "skill"]])
        reached = agreement(made, scores[["learner", "skill", "mean", "sd"]]).join(
            agreement(made, same).add_suffix("_oracle")
        )
        reached["on_scale"] = [
            scale.courses.loc[scale.courses["is_on_scale"], "answers"].sum() / scale.courses["answers"].sum()
            for scale in found.scales.values()
        ]
        tables[seed] = reached
    return pd.concat(tables, names=["seed", "skill"])


def test_the_product_comes_as_near_as_who_knows_the_questions(product):
    ratio = pd.DataFrame(
        {name: product[name] / product[f"{name}_oracle"] for name in ("r", "r_organizations")}
        | {"held": product["held"], "on_scale": product["on_scale"]}
    ).astype(float)
    by_skill = ratio.groupby("skill").mean()
    print(f"\n{ratio.round(3).to_string()}\n{by_skill.round(3).to_string()}\nmean\n{ratio.mean().round(3).to_string()}")
    assert (by_skill["r"] >= 0.97).all()
    assert (by_skill["r_organizations"] >= 0.97).all()
    assert by_skill["held"].between(0.88, 0.93).all()
    assert (ratio["on_scale"] > 0.85).all()


@pytest.mark.parametrize("learners", [1000, 300])
def test_bands_of_a_small_school_are_honest(learners):
    """All four skills have a scale; what it is less certain of, it says."""
    parts = []
    for seed in SEEDS:
        made = make_school(seed, learners)
        scores = by_slopes(made, measured(made))
        parts.append(scores[scores["answers"] >= FEWEST_ANSWERS])
    scores = pd.concat(parts)
    assert scores["skill"].nunique() == 4
    held = ((scores["mean"] - scores["at_last_answer"]).abs() <= 1.645 * scores["sd"]).mean()
    print(f"\n{learners} learners: bands hold {held:.3f} of {len(scores)}")
    assert 0.88 <= held <= 0.93


def test_the_course_whose_learners_took_nothing_else_is_apart(school):
    apart = {
        course
        for scale in measured(school).scales.values()
        for course in scale.courses.query("not is_linked")["course"]
    }
    assert apart == {PARTNER_COURSE}


def test_landing_files_are_as_the_contract_wants_them(school, tmp_path):
    """Columns, required values, unique keys, and rows that are referred to; the loader reads them in the same way."""
    write_landing(school, tmp_path)
    contract = read_contracts(REPOSITORY / "dbt" / "models")["campus"]
    with duckdb.connect() as connection:
        for table in contract.tables:
            if table.optional:
                continue
            types = {x.name: x.data_type for x in table.columns}
            connection.execute(
                f"create table {table.name} as select * from read_csv('{tmp_path}/{table.name}.csv', header = true, "
                f"all_varchar = true)"
            )
            columns = {row[0] for row in connection.execute(f"describe {table.name}").fetchall()}
            assert columns <= set(types)
            assert {x.name for x in table.columns if not x.optional} <= columns
            casts = ", ".join(f'"{name}"::{types[name]}' for name in columns)
            connection.execute(f"select {casts} from {table.name}").fetchall()
            required = [x.name for x in table.columns if x.required]
            if required:
                missing = " or ".join(f'"{name}" is null' for name in required)
                assert connection.execute(f"select count(*) from {table.name} where {missing}").fetchone() == (0,)
            key = ", ".join(f'"{name}"' for name in table.key)
            rows, keys = connection.execute(
                f"select (select count(*) from {table.name}), (select count(*) from (select distinct {key} from "
                f"{table.name}))"
            ).fetchone()
            assert rows == keys, table.name
        for table in contract.tables:
            for reference in [] if table.optional else table.references:
                on = " and ".join(
                    f'own."{own}" = other."{to}"' for own, to in zip(reference.columns, reference.to, strict=True)
                )
                set_ = " and ".join(f'own."{own}" is not null' for own in reference.columns)
                lost = connection.execute(
                    f"select count(*) from {table.name} own where {set_} and not exists (select 1 from "
                    f"{reference.table} other where {on})"
                ).fetchone()
                assert lost == (0,), (table.name, reference)
        counted = connection.execute("select count(*) from responses").fetchone()
    assert counted == (len(school.answers),)
