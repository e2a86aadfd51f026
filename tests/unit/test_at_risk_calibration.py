"""Calibration curves, their error and slope, and drift."""

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from dagster_project.stats.risk import calibration, drift


def drawn(n, seed, slope=1.0, intercept=0.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 1.5, n)
    return log_odds, (rng.random(n) < expit(intercept + slope * log_odds)).astype(float)


@pytest.mark.parametrize("n", [1500, 20_000])
def test_calibrated_probabilities_of_new_rows_are_right(n):
    fitted = calibration.fit_platt(*drawn(n, 1, slope=0.5, intercept=-0.7))
    log_odds, outcome = drawn(20_000, 2, slope=0.5, intercept=-0.7)
    assert calibration.calibration_error(expit(log_odds), outcome) > 0.08
    assert calibration.calibration_error(expit(fitted.log_odds(log_odds)), outcome) < 0.03
    assert calibration.Platt(**fitted.to_dict()) == fitted


def test_platt_stays_finite_when_scores_separate_the_outcomes():
    fitted = calibration.fit_platt(np.r_[-np.arange(1, 30), np.arange(1, 30)], np.r_[np.zeros(29), np.ones(29)])
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert 0 < expit(fitted.log_odds([-5]))[0] < 0.3


def test_slope_equals_a_logistic_regression():
    log_odds, outcome = drawn(3000, 4, slope=0.8)
    expected = sm.Logit(outcome, sm.add_constant(log_odds)).fit(disp=0)
    slope, error = calibration.calibration_line(expit(log_odds), outcome)
    assert (slope, error) == pytest.approx((expected.params[1], expected.bse[1]), abs=1e-6)


def test_offset_finds_a_planted_shift():
    log_odds, outcome = drawn(50_000, 5, intercept=0.4)
    shift, error = calibration.fit_offset(log_odds, outcome)
    assert abs(shift - 0.4) < 3 * error < 0.1


def test_error_of_two_bins_by_hand():
    p, outcome = np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1])
    assert calibration.calibration_error(p, outcome, bins=2) == pytest.approx((0.4 + 0.2) / 2)
    assert calibration.calibration_bins(p, outcome, bins=2)["n"].tolist() == [2, 2]


def test_rows_of_equal_probability_count_alike_in_both_bins_that_share_them():
    # Four of .5, of whom one came, and two of .9, who came: bins of three hold .5 with .25 and 2.3 / 3 with 2.25 / 3.
    p, outcome = np.array([0.5, 0.9, 0.5, 0.5, 0.9, 0.5]), np.array([1, 1, 0, 0, 1, 0])
    for order in (np.arange(6), np.arange(6)[::-1]):
        found = calibration.calibration_error(p[order], outcome[order], bins=2)
        assert found == pytest.approx(((0.5 - 0.25) + (2.3 / 3 - 2.25 / 3)) / 2)


def test_sampling_alone_explains_the_error_of_right_probabilities():
    log_odds, outcome = drawn(4000, 6)
    by_chance = calibration.sampling_calibration_errors(expit(log_odds), seed=1)
    assert calibration.calibration_error(expit(log_odds), outcome) < 2 * by_chance.mean() < 0.04
    # One draw again with what the error of a cohort is computed by.
    p = np.sort(expit(log_odds))
    came = np.random.default_rng(1).random(len(p)) < p
    assert by_chance[0] == pytest.approx(calibration.calibration_error(p, came))


def test_a_level_that_was_missed_is_no_error_of_shape():
    log_odds, outcome = drawn(20_000, 7, intercept=-0.8)
    by_chance = calibration.sampling_calibration_errors(expit(log_odds)).max()
    assert calibration.calibration_error(expit(log_odds), outcome) > 0.1
    assert calibration.levelled_error(expit(log_odds), outcome) < by_chance
    too_extreme = expit(2 * log_odds)
    assert calibration.levelled_error(too_extreme, outcome) > 5 * by_chance


def test_psi_by_hand():
    then, now = np.repeat([0.0, 1.0], [50, 50]), np.repeat([0.0, 1.0], [75, 25])
    expected = 0.25 * np.log(0.75 / 0.5) - 0.25 * np.log(0.25 / 0.5)
    assert drift.population_stability_index(then, now) == pytest.approx(expected)


def test_psi_of_the_same_population_is_small_and_of_a_shifted_one_blocks():
    rng = np.random.default_rng(0)
    then = rng.normal(size=5000)
    reference = drift.fit_reference({"same": then, "shifted": then, "gone": then}, np.zeros(5000, int), {"same": 0.4})
    now = {"same": rng.normal(size=5000), "shifted": rng.normal(0.7, 1, 5000), "gone": np.full(5000, np.nan)}
    for kept in (reference, drift.Reference.from_dict(json.loads(json.dumps(reference.to_dict())))):
        table = drift.drift_table(kept, now, np.zeros(5000, int)).set_index("feature")
        assert table["level"].to_dict() == {"gone": "block", "shifted": "block", "same": "fine"}
        expected = {name: drift.population_stability_index(then, values) for name, values in now.items()}
        assert table["psi"].to_dict() == pytest.approx(expected)
        assert table.loc["same", "importance"] == 0.4


def test_the_calendar_is_no_drift():
    """Rows of week 1 against rows of week 1, though most that were trained on are of week 0, where all is less."""
    rng = np.random.default_rng(1)
    week = np.repeat([0, 1], [6000, 2000])
    reference = drift.fit_reference({"clicks": rng.normal(week, 1)}, week, {})
    table = drift.drift_table(reference, {"clicks": rng.normal(1, 1, 3000)}, np.ones(3000, int))
    assert table.loc[0, "psi"] < 0.02
    assert table.loc[0, ["n_expected", "n_actual"]].tolist() == [2000, 3000]
    assert drift.drift_table(reference, {"clicks": rng.normal(1, 1, 3000)}, np.zeros(3000, int)).loc[0, "psi"] > 0.25
    weeks = drift.drift_table(reference, {"clicks": rng.normal(9, 1, 3000)}, np.ones(3000, int), learners=90)
    assert (weeks["level"] == "too few rows").all()  # thirty weeks of ninety learners
    few = drift.drift_table(reference, {"clicks": rng.normal(9, 1, 100)}, np.ones(100, int))
    assert few.loc[0, "level"] == "too few rows"


def test_psi_sees_counts_that_are_mostly_zero():
    then, now = np.r_[np.zeros(95), np.ones(5)], np.r_[np.zeros(50), np.ones(50)]
    assert drift.population_stability_index(then, now) > drift.BLOCK_ABOVE
