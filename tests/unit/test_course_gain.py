"""A gain is what the course adds, not luck that evens out and not what other courses add."""

import numpy as np
import pandas as pd
import pytest

from dagster_project.stats.item_response.abilities import AbilityLikelihood, ability_likelihood
from dagster_project.stats.item_response.bank import ItemBank
from dagster_project.stats.skills.course_gain import course_gains, occasions

ITEMS = 12  # half of them before, half after
FIGURES = ("naive", "naive_se", "gain", "gain_se", "shrunken_gain", "shrunken_se")


def known_bank(slope, difficulty):
    items = pd.DataFrame({"item": np.arange(len(slope)), "slope": slope, "intercept": -slope * difficulty})
    return ItemBank(items, pd.DataFrame({"group": ["all"], "mean": [0.0], "sd": [1.0]}), "2pl", 41)


def test_a_course_that_adds_nothing_shows_nothing_where_before_and_after_does_not():
    rng = np.random.default_rng(3)
    n = 3000
    slope, difficulty = rng.uniform(0.9, 1.6, ITEMS), rng.normal(0, 0.8, ITEMS)
    before = rng.standard_normal(n)
    first = rng.random((n, ITEMS // 2)) < 1 / (1 + np.exp(-slope[:6] * (before[:, None] - difficulty[:6])))
    # Less able learners take the course without effect; half of these, and some others, take one that adds half an sd.
    useless = rng.random(n) < 1 / (1 + np.exp(1.0 + 1.5 * before))
    useful = rng.random(n) < np.where(useless, 0.5, 0.2)
    after = before + 0.5 * useful
    second = rng.random((n, ITEMS // 2)) < 1 / (1 + np.exp(-slope[6:] * (after[:, None] - difficulty[6:])))
    bank = known_bank(slope, difficulty)
    person, item = np.repeat(np.arange(n), 6), np.tile(np.arange(6), n)
    sides = [
        ability_likelihood(bank, person, item + at, answers.ravel().astype(int))
        for at, answers in ((0, first), (6, second))
    ]
    pair = np.concatenate([np.flatnonzero(useless), np.flatnonzero(useful)])
    course = np.repeat(["useless", "useful"], [useless.sum(), useful.sum()])
    result = course_gains(*sides, pair, course, np.arange(n))
    rows = result.courses.set_index("course")
    assert abs(rows.loc["useless", "gain"]) < 1.96 * rows.loc["useless", "gain_se"]
    assert rows.loc["useless", "naive"] > 4 * rows.loc["useless", "naive_se"]
    assert rows.loc["useful", "gain"] == pytest.approx(0.5, abs=2.5 * rows.loc["useful", "gain_se"])
    assert result.converged
    assert result.carry_over == pytest.approx(1.0, abs=0.1)


def test_occasions_part_at_completions_and_pauses():
    # Before the course, in it and after it; a second learner pauses for a year and a half.
    person = [0, 0, 0, 1, 1]
    course = [7, 8, 9, 7, 7]
    day = [10, 20, 200, 10, 600]
    occasion, pairs, completed = occasions(person, course, day, [0], [8], [90])
    assert occasion.tolist() == [0, 0, 1, 2, 3]
    assert pairs[["person", "before", "after", "gap_days"]].values.tolist() == [[0, 0, 1, 190]]
    assert completed.values.tolist() == [[0, 8]]


def test_no_pair_gives_no_gain_and_the_reason():
    bank = known_bank(np.ones(ITEMS), np.linspace(-1, 1, ITEMS))
    nobody = ability_likelihood(bank, np.arange(3), np.arange(3), np.ones(3, int))
    sides = [AbilityLikelihood(nobody.persons[:0], nobody.node, nobody.value[:0], nobody.answers[:0])] * 2
    found = course_gains(*sides, [], np.array([], object), [], exposure=np.empty((0, 3)))
    assert found.courses.empty
    assert found.courses.dtypes.astype(str).to_dict() == {
        "course": "object", "takers": "int64", **dict.fromkeys(FIGURES, "float64"),
    }  # fmt: skip
    assert (found.pairs, found.reason) == (0, "nobody answered before and after completing a course")


def test_courses_with_few_takers_get_no_gain():
    rng = np.random.default_rng(1)
    n = 400
    slope, difficulty = np.ones(ITEMS), np.linspace(-1, 1, ITEMS)
    bank = known_bank(slope, difficulty)
    person, item = np.repeat(np.arange(n), 6), np.tile(np.arange(6), n)
    sides = [ability_likelihood(bank, person, item + at, rng.integers(0, 2, 6 * n)) for at in (0, 6)]
    pair, course = np.r_[np.arange(10), np.arange(100, 200)], np.r_[np.zeros(10, int), np.ones(100, int)]
    found = course_gains(*sides, pair, course, np.arange(n))
    assert found.courses["gain"].isna().tolist() == [True, False]
    assert found.reason is None
    few = course_gains(*sides, pair[:10], course[:10], np.arange(n))
    assert few.courses["gain"].isna().all()
    assert few.reason == "no course was completed by 30 learners who answered before and after it"
