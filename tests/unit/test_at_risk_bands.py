"""Whom a team calls, by hand: a tenth of each cohort first, and nobody whose odds are not twice the cohort's."""

import numpy as np
import pandas as pd

from dagster_project.stats.risk.bands import call_bands, call_places

COHORT = ["program", "week"]
SHARES = np.array([0.10, 0.15])


def scored(probability, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"probability": np.asarray(probability, float)})
    return frame.assign(**({"log_odds": 0.0, "tie": range(len(frame)), "program": "p", "week": 4} | columns))


def test_a_tenth_is_called_at_once_and_the_next_fifteen_in_a_hundred_then():
    frame = scored([0.9] * 30 + [0.1] * 70)  # mean .34, its odds .52; odds of .9 are 9
    bands = call_bands(frame, COHORT, SHARES)
    assert (bands[:10] == "high").all()
    assert (bands[10:25] == "medium").all()
    assert (bands[25:] == "low").all()


def test_nobody_is_called_whose_odds_are_not_twice_the_cohorts():
    # Mean of ten: (.5 + 9 · .3) / 10 = .32, odds .4706; odds of .5 are 1 ≥ .94, those of .3 are .43.
    assert call_bands(scored([0.3] * 9 + [0.5]), COHORT, SHARES).tolist() == ["low"] * 9 + ["high"]
    assert set(call_bands(scored([0.3] * 9 + [0.4]), COHORT, SHARES)) == {"low"}  # .4: odds .667, the cohort's .449


def test_each_cohort_has_its_own_list_and_a_small_one_at_least_one_place():
    frame = scored([0.9, 0.2, 0.2, 0.2, 0.5, 0.05, 0.05, 0.05], program=["a"] * 4 + ["b"] * 4)
    assert call_bands(frame, COHORT, SHARES).tolist() == ["high", "low", "low", "low"] * 2
    assert call_places(frame, COHORT)["size"].tolist() == [4] * 8


def test_shares_may_differ_by_row():
    frame = scored([0.9] * 4 + [0.1] * 16, program=["a"] * 20)
    twice = pd.concat([frame, frame.assign(program="b")], ignore_index=True)
    bands = call_bands(twice, COHORT, np.repeat([[0.05, 0.05], [0.10, 0.0]], 20, axis=0))
    assert bands[:20].tolist() == ["high", "medium"] + ["low"] * 18
    assert bands[20:].tolist() == ["high", "high"] + ["low"] * 18


def test_of_equal_probabilities_the_higher_log_odds_come_first_then_the_tie():
    frame = scored([0.5, 0.5, 0.5, 0.9], log_odds=[1.0, 2.0, 1.0, 0.0], tie=[9, 1, 3, 5])
    assert call_places(frame, COHORT)["place"].tolist() == [4, 2, 3, 1]
