"""Logistic regressions on the columns that linear ones used: do two shapes of the same model tell the same?

A linear probability may leave [0, 1]; a logit cannot. All regressions of one design are fitted side by side by Newton's
method, one pass over the rows for each step.

References:
    [1] Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, section 15.6: average partial effects
        of linear and logit models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dagster_project.stats.double_lasso.fits import Fits
from dagster_project.stats.double_lasso.gram import centred, in_sample, take

STEPS = 15
TOLERANCE = 1e-6  # change of the linear predictor's coefficients, on columns of standard deviation 1
RIDGE = 1e-9  # keeps the step finite where a group's outcomes are all alike


class _Fit:
    """One regression: an intercept for each absorbed group, the selected controls and the driver, the last column."""

    def __init__(self, fits: Fits, position: int) -> None:
        task = fits.tasks[position]
        sample = fits.samples[task.sample]
        self.sample, self.columns = task.sample, np.array([*task.selected, task.driver], dtype=np.int64)
        self.scale = sample.scale[self.columns]
        rate = np.clip(task.outcome_mean, 1e-3, 1 - 1e-3)
        self.intercepts = np.full(len(sample.group_rows), np.log(rate / (1 - rate)))
        self.slopes = np.zeros(len(self.columns))
        self.slopes[-1] = task.effect * self.scale[-1] / (rate * (1 - rate))
        self.change = np.inf
        self.rows = sample.rows
        self.clear()

    def clear(self) -> None:
        q, g = len(self.slopes), len(self.intercepts)
        self.gradient, self.hessian = np.zeros(q), RIDGE * self.rows * np.eye(q)
        self.group_gradient, self.group_weight = np.zeros(g), np.full(g, RIDGE * self.rows)
        self.cross = np.zeros((g, q))

    def add(self, x: np.ndarray, groups: np.ndarray, outcome: np.ndarray) -> None:
        from scipy.special import expit

        probability = expit(self.intercepts[groups] + self.slopes @ x)
        weight, residual = probability * (1 - probability), outcome - probability
        weighted = x * weight
        self.gradient += x @ residual
        self.hessian += weighted @ x.T
        g = len(self.intercepts)
        self.group_gradient += np.bincount(groups, residual, g)
        self.group_weight += np.bincount(groups, weight, g)
        for j, row in enumerate(weighted):
            self.cross[:, j] += np.bincount(groups, row, g)

    def step(self) -> None:
        """One Newton step; the intercepts' part of the matrix is diagonal and goes first."""
        inner = self.cross / self.group_weight[:, None]
        matrix = self.hessian - self.cross.T @ inner
        slopes = np.linalg.solve(matrix, self.gradient - inner.T @ self.group_gradient)
        intercepts = (self.group_gradient - self.cross @ slopes) / self.group_weight
        self.slopes += slopes
        self.intercepts = np.clip(self.intercepts + intercepts, -15, 15)
        self.change = float(np.abs(slopes).max())


def logit_percents(fits: Fits, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Percent by which the mean prediction changes when the driver goes from ``low`` to ``high`` in every row.

    Args:
        fits: linear fits with a 0/1 outcome
        low, high: (models,) values of the driver, in its units

    Returns:
        (models,) percent; nan where the model was not estimated, or the logit did not converge ([1])
    """
    from scipy.special import expit

    percents = np.full(len(fits.tasks), np.nan)
    asked = [i for i, task in enumerate(fits.tasks) if not task.reason and np.isfinite([low[i], high[i]]).all()]
    models = {i: _Fit(fits, i) for i in asked}
    for _ in range(STEPS):
        active = [model for model in models.values() if model.change > TOLERANCE]
        if not active:
            break
        for model in active:
            model.clear()
        for sample, z, groups, outcome in _rows(fits):
            for model in active:
                if model.sample == sample:
                    model.add(z[model.columns] / model.scale[:, None], groups, outcome)
        for model in active:
            model.step()

    sums = {i: np.zeros(2) for i in asked}
    for sample, z, groups, _ in _rows(fits):
        for i, model in models.items():
            if model.sample != sample:
                continue
            x = z[model.columns] / model.scale[:, None]
            others = model.intercepts[groups] + model.slopes[:-1] @ x[:-1]
            means = fits.samples[sample].group_means[model.columns[-1]] + fits.design.shift[model.columns[-1]]
            for end, value in enumerate((low[i], high[i])):
                driver = (value - means[groups]) / model.scale[-1]
                sums[i][end] += expit(others + model.slopes[-1] * driver).sum()
    for i, model in models.items():
        if model.change <= TOLERANCE:
            percents[i] = 100 * (sums[i][1] / sums[i][0] - 1)
    return percents


def _rows(fits: Fits):
    """Sample, centred columns, groups and outcome of every block."""
    shift = fits.design.shift[fits.outcome]
    for block in fits.design.blocks():
        for k, sample in enumerate(fits.samples):
            rows = in_sample(block, k)
            groups = take(block.groups, rows)
            if len(groups):
                yield k, centred(block, rows, sample), groups, take(block.values[fits.outcome], rows) + shift
