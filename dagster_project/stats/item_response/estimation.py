"""Marginal maximum likelihood for item response models: EM with SQUAREM, then Newton on the observed information.

EM (Bock and Aitkin 1981) is safe and slow near the end: the share of missing information is its rate. SQUAREM (Varadhan
and Roland 2008, scheme S3) extrapolates it; a step that lowers the log likelihood is taken back. Close to the maximum
the observed information after Louis (1982), needed for the standard errors anyway, gives Newton steps, and their
predicted gain is the evidence of convergence: how much log likelihood is left to find, not how small the last change
was.

A group that reaches beyond the nodes gets further ones: cut off, its distribution would be estimated too narrow.

With many responses every k-th person is fitted first: the start for the whole then is a few standard errors away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dagster_project.stats.item_response.quadrature import LIMIT, Grid
from dagster_project.stats.item_response.responses import Responses

LARGEST_SLOPE = 10.0  # beyond it, an item separates the persons and its slope has no finite estimate
SMALLEST_SD = 0.05
MOST_PASSES = 2000
SUBSET_RESPONSES = 1_000_000
INFORMATION_RESPONSES = 2_000_000  # beyond it, the missing information is that of every k-th person, scaled up
FULL_INFORMATION_PARAMETERS = 4000  # 128 MB; beyond it, information between items is left out
ROUGH_DISTANCE = 1.0  # standard errors at which the nodes' reach is first looked at, of several groups
NEWTON_DISTANCE = 0.05  # standard errors from the maximum at which EM hands over
TOLERANCE = 1e-3  # standard errors
MOST_SLOW_STEPS = 3  # Newton steps that do not halve: a slope is on its way to its bound, where EM takes it
CUT_OFF = 1e-4  # standard errors by which the ability beyond the nodes may move a group's sd
REACH = 6.0  # sds of a group that the nodes cover where they did not reach far enough
INFORMATION_HOLDS = 0.01  # a parameter moved less far has the same information within 1 %


@dataclass
class Parameters:
    """``slope`` (items,), ``step`` intercepts of all items one after the other, ``mean`` and ``sd`` (groups,)."""

    slope: np.ndarray
    step: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def vector(self) -> np.ndarray:
        """All parameters in one array, in the order of the fields."""
        return np.concatenate([self.slope, self.step, self.mean, self.sd])

    def with_vector(self, vector: np.ndarray) -> Parameters:
        """Parameters of the same shapes with the values of such an array."""
        parts = np.cumsum([len(self.slope), len(self.step), len(self.mean)])
        return Parameters(*(part.copy() for part in np.split(vector, parts)))


@dataclass(frozen=True)
class Specification:
    """What is estimated. Flags by item and by group; ``prior`` (items, 4): slope mean, sd, intercept mean, sd."""

    step_start: np.ndarray
    free_slope: np.ndarray
    tied_slope: np.ndarray  # held at the mean of the free slopes
    free_step: np.ndarray
    free_mean: np.ndarray
    free_sd: np.ndarray
    prior: np.ndarray
    grid: Grid

    def free(self) -> np.ndarray:
        """Which elements of the parameter vector are free."""
        return np.concatenate(
            [self.free_slope, np.repeat(self.free_step, np.diff(self.step_start)), self.free_mean, self.free_sd]
        )


@dataclass(frozen=True)
class Estimate:
    """Result of :func:`maximize`. ``std_error`` is a :class:`Parameters` of errors, NaN where nothing was estimated."""

    parameters: Parameters
    std_error: Parameters
    slope_step_covariance: np.ndarray  # of each step's intercept with its item's slope
    log_likelihood: float
    log_likelihood_left: float  # predicted gain of one more Newton step
    passes: int
    converged: bool
    smallest_sd: float
    counts: np.ndarray  # expected persons by row and node
    group_counts: np.ndarray
    notes: tuple[str, ...]


class _Objective:
    """Marginal log likelihood plus log prior, with what its evaluation leaves behind for EM and Newton."""

    def __init__(self, responses: Responses, specification: Specification):
        self.responses, self.spec = responses, specification
        persons, width = len(responses.start) - 1, len(specification.grid.padded)
        rows = int(specification.step_start[-1]) + len(specification.free_slope)
        self.table = np.empty((rows, width))
        self.counts = np.empty((rows, width))
        self.group_counts = np.empty((len(specification.free_mean), width))
        self.low = np.zeros(persons, np.int16)
        self.high = np.full(persons, width, np.int16)
        self.passes = 0
        self.log_likelihood = -np.inf
        self.smallest_sd = np.inf

    def evaluate(self, p: Parameters) -> float:
        """E-step at ``p``; returns the objective."""
        from dagster_project.stats.item_response import item_kernels, kernels

        spec, data, grid = self.spec, self.responses, self.spec.grid
        item_kernels.category_log_probabilities(p.slope, p.step, spec.step_start, grid.padded, grid.nodes, self.table)
        self.log_likelihood, variance = kernels.expected_counts(
            data.start, data.row, data.group, self.table, grid.log_prior(p.mean, p.sd), grid.padded,
            self.low, self.high, self.counts, self.group_counts,
        )  # fmt: skip
        self.passes += 1
        self.smallest_sd = float(np.sqrt(max(variance, 0.0)))
        slope_penalty = ((p.slope - spec.prior[:, 0]) / spec.prior[:, 1])[spec.free_slope]
        by_step = np.repeat(spec.prior[:, 2:], np.diff(spec.step_start), axis=0)
        step_penalty = ((p.step - by_step[:, 0]) / by_step[:, 1])[np.repeat(spec.free_step, np.diff(spec.step_start))]
        return self.log_likelihood - 0.5 * float(slope_penalty @ slope_penalty + step_penalty @ step_penalty)

    def maximize_expected(self, p: Parameters) -> Parameters:
        """M-step from the counts of the last evaluation."""
        from dagster_project.stats.item_response import item_kernels

        spec, node = self.spec, self.spec.grid.node
        new = Parameters(p.slope.copy(), p.step.copy(), p.mean.copy(), p.sd.copy())
        item_kernels.maximize_items(
            new.slope, new.step, spec.step_start, spec.free_slope, spec.free_step, spec.prior, self.counts, node,
            LARGEST_SLOPE,
        )  # fmt: skip
        if spec.tied_slope.any() and spec.free_slope.any():
            new.slope[spec.tied_slope] = new.slope[spec.free_slope].mean()
        weight = self.group_counts[:, : len(node)]
        persons = np.maximum(weight.sum(axis=1), 1e-300)
        enough = persons > 5
        move = spec.free_mean & enough
        new.mean[move] = (weight @ node / persons)[move]
        square = (weight * (node[None, :] - new.mean[:, None]) ** 2).sum(axis=1) / persons
        move = spec.free_sd & enough
        new.sd[move] = np.maximum(np.sqrt(square), SMALLEST_SD)[move]
        return new

    def complete_data(self, p: Parameters) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Gradient by the parameter vector, information of each item (complete data, with prior), and of each group."""
        from dagster_project.stats.item_response import item_kernels

        spec, node = self.spec, self.spec.grid.node
        items, steps = len(p.slope), np.diff(spec.step_start)
        widest = int(steps.max(initial=0)) + 1
        by_item = np.zeros((items, widest))
        hessian = np.zeros((items, widest, widest))
        item_kernels.item_derivatives(p.slope, p.step, spec.step_start, spec.prior, self.counts, node, by_item, hessian)
        real = np.arange(1, widest)[None, :] <= steps[:, None]
        weight = self.group_counts[:, : len(node)]
        z = (node[None, :] - p.mean[:, None]) / p.sd[:, None]
        gradient = np.concatenate(
            [by_item[:, 0], by_item[:, 1:][real], (weight * z).sum(1) / p.sd, (weight * (z**2 - 1)).sum(1) / p.sd]
        )
        group = np.empty((len(p.mean), 2, 2))
        group[:, 0, 0] = weight.sum(1)
        group[:, 0, 1] = group[:, 1, 0] = 2 * (weight * z).sum(1)
        group[:, 1, 1] = (weight * (3 * z**2 - 1)).sum(1)
        return (
            gradient,
            [-h[: m + 1, : m + 1] for h, m in zip(hessian, steps, strict=True)],
            group / p.sd[:, None, None] ** 2,
        )

    def information(self, p: Parameters, free: np.ndarray, *, cross: bool) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and observed information of the free parameters at the point of the last evaluation."""
        spec = self.spec
        gradient, by_item, by_group = self.complete_data(p)
        position = np.full(len(free), -1, np.int64)
        position[free] = np.arange(free.sum())
        items, steps, groups = len(p.slope), len(p.step), len(p.mean)
        blocks = [
            (np.concatenate([[i], items + np.arange(spec.step_start[i], spec.step_start[i + 1])]), by_item[i])
            for i in range(items)
        ] + [(items + steps + np.array([g, groups + g]), by_group[g]) for g in range(groups)]
        information = self._missing_information(p, free, position) if cross else np.zeros((free.sum(), free.sum()))
        np.negative(information, out=information)
        for index, block in blocks:
            kept = position[index] >= 0
            at = position[index[kept]]
            information[np.ix_(at, at)] += block[np.ix_(kept, kept)]
        return gradient[free], information

    def _missing_information(self, p: Parameters, free: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Posterior covariance of the persons' scores, by free parameter (see the kernel for slots)."""
        from dagster_project.stats.item_response import item_kernels, kernels

        spec, grid = self.spec, self.spec.grid
        data, low, high = self._information_sample()
        items, groups, steps = len(p.slope), len(p.mean), np.diff(spec.step_start)
        below, above = np.empty_like(self.table), np.empty_like(self.table)
        item_kernels.category_scores(p.slope, p.step, spec.step_start, grid.padded, grid.nodes, below, above)
        # One slot a step of the items with a free parameter, then one a group with a free parameter.
        item_used = spec.free_slope | spec.free_step
        group_used = spec.free_mean | spec.free_sd
        step_used = np.repeat(item_used, steps)
        step_slot = np.cumsum(step_used) - 1
        group_slot = np.where(group_used, step_used.sum() + np.cumsum(group_used) - 1, -1)
        row_item = np.repeat(np.arange(items), steps + 1)
        category = np.arange(len(row_item)) - spec.step_start[row_item] - row_item
        slots = int(step_used.sum() + group_used.sum())
        out = np.zeros((slots, slots, 4))
        kernels.posterior_score_covariance(
            data.start, data.row, data.group, self.table, grid.log_prior(p.mean, p.sd), grid.padded, below, above,
            np.where(item_used[row_item], step_slot[spec.step_start[row_item]], -1), category - 1,
            np.where(category < steps[row_item], category, -1), group_slot, p.mean, p.sd, low, high, out,
        )  # fmt: skip
        # Slot (first, second) → parameter: a further step's slot has no first.
        parameter = np.full((slots, 2), -1)
        parameter[: step_used.sum(), 1] = position[items : items + len(p.step)][step_used]
        leading = step_slot[spec.step_start[:-1][item_used]]
        parameter[leading, 0] = position[:items][item_used]
        parameter[step_used.sum() :, 0] = position[items + len(p.step) :][:groups][group_used]
        parameter[step_used.sum() :, 1] = position[items + len(p.step) + groups :][group_used]
        covariance = np.zeros((free.sum(), free.sum()))
        for first in (0, 1):
            for second in (0, 1):
                i, k = np.flatnonzero(parameter[:, first] >= 0), np.flatnonzero(parameter[:, second] >= 0)
                half = np.zeros_like(covariance)
                half[np.ix_(parameter[i, first], parameter[k, second])] = out[np.ix_(i, k)][..., 2 * first + second]
                covariance += half
        # A pair of slots lies on one side of the diagonal; a slot with itself has both of its sides already.
        own = np.full(int(free.sum()), -1)
        own[parameter[parameter >= 0]] = np.nonzero(parameter >= 0)[0]
        within = own[:, None] == own[None, :]
        covariance = np.where(within, covariance, covariance + covariance.T)
        if data is not self.responses:
            # By item and group, not by persons: a rare item's share of the sample is left to chance.
            sampled = np.bincount(data.row, minlength=len(self.table))
            by_item, all_by_item = (
                np.bincount(row_item, n) for n in (sampled, self.counts[:, : grid.nodes].sum(axis=1))
            )
            by_group, all_by_group = np.bincount(data.group, minlength=groups), self.group_counts.sum(axis=1)
            times = np.concatenate(
                [(all_by_item / np.maximum(by_item, 1))[np.r_[:items, np.repeat(np.arange(items), steps)]]]
                + 2 * [all_by_group / np.maximum(by_group, 1)]
            )[free]
            covariance *= np.sqrt(times[:, None] * times[None, :])
        return covariance

    def _information_sample(self) -> tuple[Responses, np.ndarray, np.ndarray]:
        """The persons whose missing information is computed, and their windows."""
        stride = len(self.responses.row) // INFORMATION_RESPONSES
        if stride < 2:
            return self.responses, self.low, self.high
        sample = self.responses.every(stride)
        width, persons = len(self.spec.grid.padded), len(sample.start) - 1
        return sample, np.zeros(persons, np.int16), np.full(persons, width, np.int16)


def maximize(responses: Responses, specification: Specification, start: Parameters) -> Estimate:
    """Maximize the marginal likelihood (and priors) from ``start``.

    ``responses`` rows follow ``specification.step_start``. Deterministic; one thread.
    """
    passes = 0
    stride = len(responses.row) // SUBSET_RESPONSES
    if stride >= 2:
        start, passes = _start_from_subset(responses.every(stride), specification, start)
    persons = np.bincount(responses.group, minlength=len(start.mean))
    specification = _far_enough(specification, start, persons)
    objective = _Objective(responses, specification)
    objective.passes = passes
    notes: list[str] = []
    free = specification.free()
    cross = int(free.sum()) <= FULL_INFORMATION_PARAMETERS
    if not cross:
        notes.append(
            f"{int(free.sum())} parameters: standard errors leave out the information between items, "
            f"kept up to {FULL_INFORMATION_PARAMETERS} parameters"
        )
    near = NEWTON_DISTANCE if cross else TOLERANCE
    distance = near if len(persons) == 1 or stride >= 2 else ROUGH_DISTANCE
    parameters = start
    covariance = None
    left = np.inf
    converged = False
    while True:
        parameters, value, reached = _squarem(objective, parameters, distance)
        further = _far_enough(specification, parameters, persons)
        if reached and (further is not specification or distance > near):
            if further is not specification:
                specification, passes = further, objective.passes
                objective = _Objective(responses, specification)
                objective.passes = passes
            distance = min(distance, near)
            continue
        bounded = np.zeros(len(free), bool)
        bounded[: len(parameters.slope)] = np.abs(parameters.slope) >= LARGEST_SLOPE * (1 - 1e-9)
        estimated = free & ~bounded
        parameters, covariance, left, converged = _newton(objective, parameters, value, estimated, cross)
        converged = converged and reached
        if converged or covariance is None or distance <= TOLERANCE or not reached:
            break
        distance = TOLERANCE
    if covariance is None:
        notes.append(
            "the observed information is not positive definite: the data do not determine all parameters, "
            "there are no standard errors"
        )
    elif not converged:
        notes.append(f"no convergence after {objective.passes} passes; about {left:.2g} log likelihood left to gain")
    errors = np.full(len(free), np.nan)
    by_slope = np.full(len(parameters.step), np.nan)
    if covariance is not None:
        errors[estimated] = np.sqrt(covariance.diagonal())
        at = np.cumsum(estimated) - 1
        item = np.repeat(np.arange(len(parameters.slope)), np.diff(specification.step_start))
        step = len(parameters.slope) + np.arange(len(item))
        known = estimated[item] & estimated[step]
        by_slope[known] = covariance[at[item[known]], at[step[known]]]
    return Estimate(
        parameters=parameters,
        std_error=parameters.with_vector(errors),
        slope_step_covariance=by_slope,
        log_likelihood=objective.log_likelihood,
        log_likelihood_left=left,
        passes=objective.passes,
        converged=converged,
        smallest_sd=objective.smallest_sd,
        counts=objective.counts[:, : specification.grid.nodes],
        group_counts=objective.group_counts[:, : specification.grid.nodes],
        notes=tuple(notes),
    )


def _far_enough(spec: Specification, p: Parameters, persons: np.ndarray) -> Specification:
    """The specification, with further nodes where a group reaches beyond them.

    A normal distribution cut off z sds from its mean has a score of its sd that is off by z φ(z) / sd a person, at an
    information of at most 2 / sd² a person.
    """
    z = (spec.grid.limit - np.abs(p.mean)) / p.sd
    moved = np.sqrt(persons / 2) * z * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    cut_off = (spec.free_mean | spec.free_sd) & ((moved > CUT_OFF) | (z < 1))
    if not cut_off.any():
        return spec
    limit = min(float((np.abs(p.mean) + REACH * p.sd)[cut_off].max()), 3 * LIMIT)
    return replace(spec, grid=spec.grid.reaching(limit)) if limit > spec.grid.limit else spec


def _start_from_subset(responses: Responses, spec: Specification, start: Parameters) -> tuple[Parameters, int]:
    """Fit some of the persons, with weak priors so that items rare among them stay finite."""
    prior = spec.prior.copy()
    prior[~np.isfinite(prior[:, 1]), :2] = 1.0, 1.0
    prior[~np.isfinite(prior[:, 3]), 2:] = 0.0, 3.0
    objective = _Objective(responses, replace(spec, prior=prior))
    parameters, _, _ = _squarem(objective, start, NEWTON_DISTANCE)
    return parameters, objective.passes


def _squarem(objective: _Objective, p: Parameters, distance: float) -> tuple[Parameters, float, bool]:
    """EM accelerated by SQUAREM until the maximum is estimated to be within ``distance`` standard errors.

    The distance is the EM step in complete-data standard errors (smaller than the real ones), divided by 1 - rate.
    Returns parameters whose evaluation is the objective's last one, the value, and whether the distance was reached.
    """
    free = objective.spec.free()
    safe, safe_value = None, -np.inf
    limit = 4.0
    value = objective.evaluate(p)
    while objective.passes < MOST_PASSES:
        if safe is not None and not value >= safe_value - 1e-9 * abs(safe_value):
            # The extrapolation overshot: back to the EM iterate, and shorter steps for a while.
            p, limit = safe, max(limit / 2, 1.5)
            value = objective.evaluate(p)
        first = objective.maximize_expected(p)
        x0, x1 = p.vector(), first.vector()
        scale = _complete_data_precision(objective, p)[free]
        first_value = objective.evaluate(first)
        second = objective.maximize_expected(first)
        x2 = second.vector()
        r, v = (x1 - x0)[free], (x2 - 2 * x1 + x0)[free]
        size = np.sqrt((scale * r**2).sum())
        next_size = np.sqrt((scale * (x2 - x1)[free] ** 2).sum())
        rate = min(next_size / size, 0.999) if size > 0 else 0.0
        if np.abs(np.sqrt(scale) * (x2 - x1)[free]).max(initial=0.0) <= distance * (1 - rate):
            return second, objective.evaluate(second), True
        curvature = np.sqrt((scale * v**2).sum())
        step = min(max(size / curvature, 1.0), limit) if curvature > 0 else 1.0
        if step == limit:
            limit *= 2
        safe, safe_value = second, first_value
        moved = p.with_vector(x0 + 2 * step * (x1 - x0) + step**2 * (x2 - 2 * x1 + x0))
        valid = (moved.sd > SMALLEST_SD).all() and (np.abs(moved.slope) <= LARGEST_SLOPE).all()
        if not (valid and _ordered(moved.step, objective.spec.step_start)):
            moved, safe = second, None
        p = moved
        value = objective.evaluate(p)
    return p, value, False


def _ordered(step: np.ndarray, step_start: np.ndarray) -> bool:
    """Whether the intercepts of every item fall from step to step, as cumulative probabilities must."""
    falls = np.diff(step) < 0
    falls[step_start[1:-1] - 1] = True
    return bool(falls.all()) if len(step) else True


def _complete_data_precision(objective: _Objective, p: Parameters) -> np.ndarray:
    _, by_item, by_group = objective.complete_data(p)
    diagonals = [block.diagonal() for block in by_item]
    return np.maximum(
        np.concatenate(
            [
                [d[0] for d in diagonals],
                np.concatenate([d[1:] for d in diagonals]),
                by_group[:, 0, 0],
                by_group[:, 1, 1],
            ]
        ),
        1e-8,
    )


def _newton(
    objective: _Objective, p: Parameters, value: float, free: np.ndarray, cross: bool
) -> tuple[Parameters, np.ndarray | None, float, bool]:
    """Newton steps from a point close to the maximum, the last evaluation.

    Returns parameters, covariance of the free ones (None: information not positive definite), the predicted gain that
    is left, and whether the last step was below TOLERANCE standard errors.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    factor = covariance = None
    variances = np.zeros(0)
    left = size = np.inf
    slow = 0
    for _ in range(20):
        if factor is None:
            gradient, information = objective.information(p, free, cross=cross)
            try:
                factor = cho_factor(information, lower=True, overwrite_a=True, check_finite=False)
                covariance = cho_solve(factor, np.eye(len(gradient)), overwrite_b=True)
                variances = covariance.diagonal()
            except LinAlgError:
                return p, None, left, False
        else:
            gradient = objective.complete_data(p)[0][free]
        change = cho_solve(factor, gradient)
        left = 0.5 * float(gradient @ change)
        last, size = size, np.max(np.abs(change) / np.sqrt(variances), initial=0.0)
        if size <= TOLERANCE:
            return p, covariance, left, True
        slow = slow + 1 if size > last / 2 else 0
        if slow == MOST_SLOW_STEPS:
            return p, covariance, left, False
        vector = p.vector()
        vector[free] += change if cross else 0.0
        moved = p.with_vector(vector)
        if not cross or (moved.sd <= SMALLEST_SD).any() or not _ordered(moved.step, objective.spec.step_start):
            return p, covariance, left, not cross
        moved_value = objective.evaluate(moved)
        if not moved_value >= value - 1e-10 * abs(value):
            objective.evaluate(p)
            return p, covariance, left, False
        # The information of a point this close serves the next step as well, and the standard errors.
        if np.max(np.abs(change)) > INFORMATION_HOLDS:
            factor = None
        p, value = moved, moved_value
    return p, covariance, left, False
