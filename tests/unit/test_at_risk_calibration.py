"""Calibration curves, their error and slope, and drift."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from dagster_project.stats.risk import calibration, drift


def drawn(n, seed, slope=1.0, intercept=0.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 1.5, n)
    return log_odds, (rng.random(n) < expit(intercept + slope * log_odds)).astype(float)


def test_few_positives_get_a_line_and_many_a_curve():
    log_odds, outcome = drawn(1500, 0)
    assert isinstance(calibration.fit_calibration(log_odds, outcome), calibration.Platt)
    log_odds, outcome = drawn(5000, 0)
    assert isinstance(calibration.fit_calibration(log_odds, outcome), calibration.Isotonic)


@pytest.mark.parametrize("n", [1500, 20_000])
def test_calibrated_probabilities_of_new_rows_are_right(n):
    fitted = calibration.fit_calibration(*drawn(n, 1, slope=0.5, intercept=-0.7))
    log_odds, outcome = drawn(20_000, 2, slope=0.5, intercept=-0.7)
    assert calibration.calibration_error(expit(log_odds), outcome) > 0.08
    assert calibration.calibration_error(fitted.probability(log_odds), outcome) < 0.03
    again = calibration.read_calibration(fitted.to_dict())
    np.testing.assert_array_equal(again.probability(log_odds), fitted.probability(log_odds))


def test_platt_stays_finite_when_scores_separate_the_outcomes():
    fitted = calibration.fit_platt(np.r_[-np.arange(1, 30), np.arange(1, 30)], np.r_[np.zeros(29), np.ones(29)])
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert 0 < fitted.probability([-5])[0] < 0.3


def test_slope_equals_a_logistic_regression():
    log_odds, outcome = drawn(3000, 4, slope=0.8)
    expected = sm.Logit(outcome, sm.add_constant(log_odds)).fit(disp=0).params[1]
    assert calibration.calibration_slope(expit(log_odds), outcome) == pytest.approx(expected, abs=1e-8)


def test_offset_finds_a_planted_shift():
    log_odds, outcome = drawn(50_000, 5, intercept=0.4)
    shift, error = calibration.fit_offset(log_odds, outcome)
    assert abs(shift - 0.4) < 3 * error < 0.1


def test_error_of_two_bins_by_hand():
    p, outcome = np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 1, 1, 1])
    assert calibration.calibration_error(p, outcome, bins=2) == pytest.approx((0.4 + 0.2) / 2)
    assert calibration.calibration_bins(p, outcome, bins=2)["n"].tolist() == [2, 2]


def test_sampling_alone_explains_the_error_of_right_probabilities():
    log_odds, outcome = drawn(4000, 6)
    by_chance = calibration.sampling_calibration_error(expit(log_odds), seed=1)
    assert calibration.calibration_error(expit(log_odds), outcome) < 2 * by_chance < 0.04


def test_psi_by_hand():
    then, now = np.repeat(["a", "b"], [50, 50]), np.repeat(["a", "b"], [75, 25])
    expected = 0.25 * np.log(0.75 / 0.5) - 0.25 * np.log(0.25 / 0.5)
    assert drift.population_stability_index(then, now) == pytest.approx(expected)


def test_psi_of_the_same_population_is_small_and_of_a_shifted_one_blocks():
    rng = np.random.default_rng(0)
    then = rng.normal(size=5000)
    table = drift.drift_table(
        pd.DataFrame({"same": then, "shifted": then, "gone": then}),
        pd.DataFrame({"same": rng.normal(size=5000), "shifted": rng.normal(0.7, 1, 5000), "gone": np.nan}),
        ["same", "shifted", "gone"],
    )
    assert dict(zip(table["feature"], table["level"], strict=True)) == {
        "gone": "block",
        "shifted": "block",
        "same": "fine",
    }


def test_psi_sees_counts_that_are_mostly_zero():
    then, now = np.r_[np.zeros(95), np.ones(5)], np.r_[np.zeros(50), np.ones(50)]
    assert drift.population_stability_index(then, now) > drift.BLOCK_ABOVE


def test_log_odds_beyond_the_curve_take_its_ends():
    fitted = calibration.fit_calibration(*drawn(5000, 8))
    low, high = fitted.probability([-50, 50])
    assert 0 < low < 0.05
    assert 0.95 < high < 1
    assert np.isfinite(logit([low, high])).all()
