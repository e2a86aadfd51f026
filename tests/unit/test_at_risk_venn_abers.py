"""Venn–Abers intervals against isotonic regressions fitted anew for each score and each imagined outcome."""

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from dagster_project.stats.risk.venn_abers import VennAbers, fit_venn_abers


def by_brute_force(score, outcome, new):
    ends = []
    for imagined in (0.0, 1.0):
        fit = IsotonicRegression(y_min=0, y_max=1).fit(np.append(score, new), np.append(outcome, imagined))
        ends.append(float(fit.predict([new])[0]))
    return ends


@pytest.mark.parametrize("seed", range(8))
def test_intervals_equal_two_isotonic_fits_for_every_score(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    # Few different scores, so that many are equal; new ones between, at and beyond them.
    score = rng.integers(0, 15, n) / 3
    outcome = (rng.random(n) < score / 5).astype(float)
    new = np.concatenate([np.unique(score), rng.uniform(-1, 6, 20)])
    low, high = fit_venn_abers(score, outcome).interval(new)
    expected = np.array([by_brute_force(score, outcome, s) for s in new])
    np.testing.assert_allclose(np.column_stack([low, high]), expected, atol=1e-12)


def test_intervals_of_continuous_scores_equal_brute_force():
    rng = np.random.default_rng(11)
    score = rng.normal(size=300)
    outcome = (rng.random(300) < 1 / (1 + np.exp(-score))).astype(float)
    new = rng.normal(size=25)
    low, high = fit_venn_abers(score, outcome).interval(new)
    expected = np.array([by_brute_force(score, outcome, s) for s in new])
    np.testing.assert_allclose(np.column_stack([low, high]), expected, atol=1e-12)


def test_the_interval_narrows_with_more_rows_and_holds_the_true_probability():
    rng = np.random.default_rng(3)
    widths = []
    for n in (200, 20_000):
        score = rng.uniform(-2, 2, n)
        fitted = fit_venn_abers(score, rng.random(n) < 1 / (1 + np.exp(-score)))
        low, high = fitted.interval(np.linspace(-1.5, 1.5, 31))
        widths.append(float(np.mean(high - low)))
    assert widths[1] < widths[0] / 5


def test_saved_as_json_it_answers_the_same():
    rng = np.random.default_rng(5)
    score = np.round(rng.normal(size=500), 2)
    fitted = fit_venn_abers(score, rng.random(500) < 0.3)
    again = VennAbers.from_dict(json.loads(json.dumps(fitted.to_dict())))
    new = np.concatenate([score, rng.normal(size=200), [-9.0, 9.0]])
    np.testing.assert_array_equal(again.interval(new), fitted.interval(new))
    assert len(again.score) < len(fitted.score)


def test_rows_that_cannot_calibrate_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_venn_abers([], [])
    with pytest.raises(ValueError, match="finite"):
        fit_venn_abers([np.nan], [1])
    with pytest.raises(ValueError, match="0 and 1"):
        fit_venn_abers([0.1], [0.5])
