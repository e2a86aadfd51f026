"""p-values, families of tests and sensitivity against published figures and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from dagster_project.stats.double_lasso import inference


def test_false_discovery_rate_by_hand():
    # p × count / rank is .05, .08, .06, .05, .045 from rank 1 on; the smallest from a rank on counts, and at most 1
    p = np.array([0.04, 0.01, 0.032, 0.036, 0.045])
    np.testing.assert_allclose(inference.benjamini_hochberg(p), [0.045, 0.045, 0.045, 0.045, 0.045])
    np.testing.assert_allclose(inference.benjamini_hochberg(np.array([0.9, 0.0, 0.3, 0.3])), [0.9, 0.0, 0.4, 0.4])
    assert inference.benjamini_hochberg(np.array([0.2])).tolist() == [0.2]
    assert inference.benjamini_hochberg(np.zeros(0)).tolist() == []


def test_romano_wolf_of_independent_tests_is_sidaks_step_down():
    t = np.array([3.2, 2.5, 1.0, 0.2])
    p = 2 * stats.norm.sf(t)
    found = inference.romano_wolf(p, np.full(4, np.inf), np.eye(4), draws=40_000, seed=1)
    np.testing.assert_allclose(found, multipletests(p, method="holm-sidak")[1], atol=0.008)


def test_romano_wolf_never_ranks_a_weaker_result_above_a_stronger_one():
    p = np.array([0.041, 0.04])
    found = inference.romano_wolf(p, np.full(2, np.inf), np.eye(2), draws=40_000, seed=4)
    np.testing.assert_allclose(found, 1 - 0.96**2, atol=0.008)


def test_romano_wolf_of_one_test_repeated_is_its_own_p_value():
    p = np.full(5, 0.03)
    found = inference.romano_wolf(p, np.full(5, 40.0), np.ones((5, 5)), draws=40_000, seed=2)
    np.testing.assert_allclose(found, p, atol=0.004)


def test_romano_wolf_uses_each_tests_own_degrees_of_freedom():
    """At t = 2.5 five degrees are weak evidence, infinitely many are strong; each margin keeps its law."""
    degrees = np.array([5.0, np.inf])
    p = 2 * stats.t.sf(2.5, degrees)
    alone = [inference.romano_wolf(p[[i]], degrees[[i]], np.eye(1), draws=40_000, seed=3)[0] for i in range(2)]
    np.testing.assert_allclose(alone, p, atol=0.004)


def test_robustness_value_equals_the_published_one():
    """Cinelli and Hazlett (2020), table 1: t = 4.18 with 783 degrees of freedom has R2 = 2.2 % and RV = 13.9 %."""
    t, degrees = 4.184, 783
    r2 = t**2 / (t**2 + degrees)
    assert r2 == pytest.approx(0.022, abs=5e-4)
    assert inference.robustness_value(r2) == pytest.approx(0.139, abs=5e-4)


def test_interval_and_p_value_agree():
    low, high = inference.interval(1.0, 0.5, 12, 0.95)
    assert inference.p_value(1.0, 0.5, 12) > 0.05 > inference.p_value(1.0 - low + 1e-9, 0.5, 12)
    assert high - 1.0 == pytest.approx(1.0 - low)
    assert inference.p_value(1.0 - low, 0.5, 12) == pytest.approx(0.05)
