"""The lasso where rounding errors are all that is left to penalise."""

import time

import numpy as np

from dagster_project.stats.double_lasso.kernels import MAX_SWEEPS, coordinate_descent
from dagster_project.stats.double_lasso.rlasso import Rlasso

TWINS_AND_TARGET = np.ones((3, 3))


def test_columns_that_determine_the_target_end_the_lasso_with_what_it_has():
    lasso = Rlasso(sample=0, target=2, columns=np.array([0, 1]), cluster=None, lambda0=1.0, n=1)
    lasso.start(TWINS_AND_TARGET)
    assert lasso.step(TWINS_AND_TARGET, loadings=np.array([4e-10, 1e-11]), post=True)
    assert lasso.converged
    assert lasso.residual_sd == 0
    assert lasso.selected.tolist() == [0]


def test_sweeps_are_bounded_in_all():
    """Of twins the one with the greater penalty hands over 4e-10 a sweep: more than counts as rest, for ever."""
    started = time.process_time()
    _, converged = coordinate_descent(TWINS_AND_TARGET[:2, :2], np.ones(2), np.array([1e-9, 1e-10]))
    assert not converged
    assert time.process_time() - started < 20, f"more than {MAX_SWEEPS:,} sweeps"
