"""Standard errors of final regressions, why one cannot have any, and how the scores of several go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import Design
from dagster_project.stats.double_lasso.gram import ClusterGrams, Dimensions, Moments, SampleGrams
from dagster_project.stats.double_lasso.inference import WildBootstrap
from dagster_project.stats.double_lasso.task import Options, Requirements, Task

Grams = Mapping[tuple[int, int], SampleGrams]  # by (sample, cluster dimension)


class ClusterSums:
    """What the errors of one regression take from the clusters of one dimension, part by part."""

    def __init__(self, task: Task, sample: Moments, weights: np.ndarray, *, jackknife: bool, wild: bool) -> None:
        self.task, self.sample, self.weights, self.jackknife = task, sample, weights, jackknife
        self.total = weights.T @ sample.scatter @ weights
        self.wild = WildBootstrap(self.total) if wild else None
        self.slopes_by_part: list[np.ndarray] = []
        self.largest = 0.0  # of the driver's sum of squares that a cluster has

    def add(self, grams: ClusterGrams) -> None:
        """Take in a part of the clusters, with all columns that any regression uses."""
        squares = grams.project(self.task.driver_weights[:, None]).scatter[:, 0, 0]
        self.largest = max(self.largest, float(squares.max()))
        if not (self.jackknife or self.wild):
            return
        projected = grams.project(self.weights)
        self.slopes_by_part.append(inference.leave_one_out(self.total, projected, self.sample.group_rows))
        if self.wild:
            self.wild.add(projected)

    @property
    def slopes(self) -> np.ndarray:
        """The effect without each cluster in turn; nan where there is none."""
        return np.concatenate(self.slopes_by_part)


def final_weights(design: Design, outcome: int, task: Task, options: Options) -> np.ndarray:
    """Weights (columns of the design, q) of the columns of the final regression: controls, driver, outcome."""
    if options.method == "partialling_out":
        return np.column_stack([task.driver_weights, task.residual_weights + task.effect * task.driver_weights])
    return np.eye(len(design.columns))[:, [*task.selected, task.driver, outcome]]


def add_clusters(
    design: Design, outcome: int, tasks: Sequence[Task], samples: Sequence[Moments], grams: Grams, options: Options
) -> dict[tuple[int, int], ClusterSums]:
    """Sums by task (its position) and dimension that its errors ask about; each part of the clusters is seen once."""
    found: dict[tuple[int, int], ClusterSums] = {}
    for (sample, dimension), parts in grams.items():
        asked = []
        for position, task in enumerate(tasks):
            is_wild = dimension == options.wild
            if task.sample == sample and not task.reason and (is_wild or dimension in task.dims):
                is_jackknife = options.std_error == "jackknife" and task.dims == (dimension,)
                weights = final_weights(design, outcome, task, options)
                asked.append(position)
                found[position, dimension] = ClusterSums(
                    task, samples[sample], weights, jackknife=is_jackknife, wild=is_wild
                )
        for part in parts:
            for position in asked:
                found[position, dimension].add(part)
    return found


def standard_errors(
    design: Design,
    outcome: int,
    task: Task,
    sample: Moments,
    meat: dict[Dimensions, float],
    grams: Grams,
    clusters: Mapping[int, ClusterSums],
    options: Options,
) -> None:
    """Fill in a task's standard errors, robustness value and benchmark, or the reason why there is no estimate.

    ``meat`` has the task's sum of squared scores by dimensions, ``grams`` the scatter by (sample, cluster dimension),
    ``clusters`` what the task takes from it by dimension.
    """
    n, groups, squares = task.n, sample.groups, task.driver_squares
    residual_squares = float(task.residual_weights @ sample.scatter @ task.residual_weights)
    if options.method == "partialling_out":
        spent = groups  # hdm counts the second regression only
        task.std_errors["classical"] = float(np.sqrt(residual_squares / (n - 1 - groups) / squares))
    else:
        spent = len(task.selected) + groups
    task.std_errors["heteroskedastic"] = float(np.sqrt(meat[()] * n / (n - spent))) / squares
    task.kind, task.degrees = next(iter(task.std_errors)), np.inf

    if task.dims:
        _cluster_errors(task, sample, meat, grams, clusters, options)
    by_wild = None if options.wild is None else clusters.get(options.wild)
    if by_wild is not None and not task.reason:
        slopes, wild = by_wild.slopes, by_wild.wild
        if np.isfinite(slopes).all():
            task.without_one = float(slopes.min()), float(slopes.max())
        if wild:
            task.wild_p = wild.p_value(sample.group_rows, draws=options.draws, seed=options.seed)
    task.std_error = task.std_errors.get(task.kind, np.nan)
    explained = task.effect**2 * squares
    task.robustness_value = inference.robustness_value(explained / (explained + residual_squares))
    if options.method == "double_selection":
        weights = final_weights(design, outcome, task, options)
        strongest = inference.strongest_control(weights.T @ sample.scatter @ weights)
        if strongest is not None:
            task.benchmark = (int(task.selected[strongest[0]]), *strongest[1:])
    if not task.reason and not task.std_error > 0:
        task.reason = "the standard error is zero: the model fits the outcome exactly"


def _cluster_errors(
    task: Task,
    sample: Moments,
    meat: dict[Dimensions, float],
    grams: Grams,
    clusters: Mapping[int, ClusterSums],
    options: Options,
) -> None:
    counts = [sample.clusters[d] for d in task.dims]
    groups = 1 if any(count.contain_groups for count in counts) else sample.groups
    coefficients = task.rank + 1 + groups
    bread = task.driver_squares**2
    factor = inference.cluster_factor(task.n, coefficients, min(count.clusters for count in counts))
    task.degrees = min(inference.cluster_degrees(count, sample.groups) for count in counts)
    one_way = [factor * meat[(d,)] / bread for d in task.dims]
    own_factor = inference.cluster_factor(task.n, coefficients, counts[0].clusters)
    task.kind, task.std_errors["cluster"] = "cluster", float(np.sqrt(own_factor * meat[(task.dims[0],)] / bread))
    if len(task.dims) == 2:
        both = sum(one_way) - factor * meat[tuple(sorted(task.dims))] / bread
        task.std_errors["two-way"] = float(np.sqrt(both)) if both > 0 else np.nan
        task.std_errors["one-way"] = float(np.sqrt(max(one_way)))
        # the subtraction can leave less than either way alone, or a negative variance
        task.kind = "two-way" if both >= max(one_way) else "one-way"
    for d in task.dims:
        if d in clusters and not task.reason:
            task.reason = _concentration(task, grams[task.sample, d], clusters[d].largest, options.require)
    if len(task.dims) == 1 and task.dims[0] in clusters and clusters[task.dims[0]].jackknife and not task.reason:
        slopes = clusters[task.dims[0]].slopes
        if np.isnan(slopes).any():
            task.reason = "without one of the clusters the controls determine the driver"
            return
        task.kind = "jackknife"
        task.std_errors["jackknife"] = float(np.sqrt(inference.jackknife_variance(slopes, task.effect)))


def _concentration(task: Task, grams: SampleGrams, largest: float, require: Requirements) -> str:
    """Why the driver rests on too few clusters, if it does; ``largest`` of its squares that one cluster has."""
    clusters, share = len(grams.there), largest / task.driver_squares
    if share > require.cluster_share:
        return (
            f"one of {clusters:,} clusters carries {100 * share:.0f} % of the driver's variation, "
            f"at most {100 * require.cluster_share:.0f} % allowed"
        )
    fixed = set(grams.columns[grams.fixed_within_clusters()])
    controls = len(fixed.intersection(task.selected.tolist()))
    if task.driver in fixed and controls * require.clusters_per_control > clusters:
        return (
            f"{controls:,} selected controls are fixed within clusters like the driver, with {clusters:,} "
            f"clusters: {require.clusters_per_control} clusters for each are needed"
        )
    return ""


def score_correlation(
    dims: Sequence[tuple[int, ...]], positions: Sequence[int], meats: Mapping[Dimensions, np.ndarray]
) -> np.ndarray:
    """Correlation of the drivers' scores by the clusters that two drivers share.

    It is 0 if they share none, which is the cautious choice for the largest of several t-values.
    """
    correlation = np.eye(len(positions))
    for a, (first, i) in enumerate(zip(dims, positions, strict=True)):
        for b in range(a):
            second, j = dims[b], positions[b]
            shared = tuple(sorted(set(first) & set(second)))
            if not shared and (first or second):
                continue
            parts = [(shared, 1.0)] if len(shared) < 2 else [((shared[0],), 1.0), ((shared[1],), 1.0), (shared, -1.0)]
            product, one, other = (
                sum(sign * meats[part][x, y] for part, sign in parts) for x, y in ((i, j), (i, i), (j, j))
            )
            if one > 0 and other > 0:
                correlation[a, b] = correlation[b, a] = np.clip(product / np.sqrt(one * other), -1, 1)
    return correlation
