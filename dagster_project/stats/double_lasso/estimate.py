"""Effect of a driver on an outcome with many possible controls: double lasso, for one driver or for all at once.

Two lassos say which controls predict the outcome and which predict the driver; the effect is the driver's coefficient
in a least-squares regression with the controls of either. Overlooking a control then needs two mistakes, which is why
the ordinary standard error remains valid after the selection.

References:
    [1] Belloni, Chernozhukov and Hansen (2014), Inference on treatment effects after selection among high-dimensional
        controls, Review of Economic Studies 81, 608-650: section 2.3 (double selection), eq. 2.9 onwards.
    [2] Chernozhukov, Hansen and Spindler (2016), hdm: High-dimensional metrics, R Journal 8, 185-199.
    [3] Belloni, Chernozhukov, Hansen and Kozbur (2016), Inference in high-dimensional panel models with an application
        to gun control, J. Business & Economic Statistics 34, 590-605: clusters and partialled-out effects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dagster_project.stats.double_lasso import gram
from dagster_project.stats.double_lasso.design import JACKKNIFE_CLUSTERS, Design
from dagster_project.stats.double_lasso.errors import add_clusters, score_correlation, standard_errors
from dagster_project.stats.double_lasso.gram import (
    Dimensions,
    Moments,
    SampleGrams,
    final_sums,
    moments,
    score_squares,
)
from dagster_project.stats.double_lasso.rlasso import Rlasso, fit_all, least_squares, penalty_level
from dagster_project.stats.double_lasso.task import Options, Requirements, Task

CONSTANT = 1e-10  # share of a column's sum of squares below which it counts as none


def estimate(
    design: Design, outcome: int, tasks: list[Task], options: Options
) -> tuple[np.ndarray, list[Moments], dict[tuple[int, int], SampleGrams]]:
    """Fill in the tasks.

    Returns:
        The correlation (estimated, estimated) of the estimated drivers' scores, and the sums that led there: moments by
        sample, and scatter by cluster.
    """
    samples = moments(design)
    scales, correlations = [s.scale for s in samples], [s.correlation for s in samples]
    for task in tasks:
        _look_over(design, outcome, task, samples[task.sample], options.require)
    ready = [task for task in tasks if not task.reason]

    lassos: dict[tuple[Any, ...], Rlasso] = {}

    def lasso(task: Task, target: int) -> Rlasso:
        """The lasso of the target, shared between drivers with the same rows, controls and clusters."""
        main = task.dims[0] if task.dims and options.loadings == "cluster" else None
        key = (task.sample, target, main, task.columns.tobytes())
        if key not in lassos:
            clusters = None if main is None else samples[task.sample].clusters[main].clusters
            penalty = penalty_level(
                task.n, max(task.n_controls, 1), c=options.c, gamma=options.gamma, n_clusters=clusters
            )
            lassos[key] = Rlasso(task.sample, target, task.columns, main, penalty, task.n)
        return lassos[key]

    pairs = [(lasso(task, outcome), lasso(task, task.driver)) for task in ready]
    fit_all(
        list(lassos.values()),
        correlations,
        scales,
        lambda requests: score_squares(design, samples, requests),
        post=options.post,
    )
    for task, (of_outcome, of_driver) in zip(ready, pairs, strict=True):
        _final_regression(outcome, task, of_outcome, of_driver, samples[task.sample], options)
    ready = [task for task in ready if not task.reason]
    if not ready:
        return np.zeros((0, 0)), samples, {}

    grams = _grams(design, samples, _gram_columns(design, outcome, ready, options))
    meats = final_sums(
        design,
        samples,
        [task.sample for task in ready],
        np.column_stack([task.driver_weights for task in ready]),
        np.column_stack([task.residual_weights for task in ready]),
        _dimensions(ready),
        [parts for parts in grams.values() if parts.is_kept],
    )
    clusters = add_clusters(design, outcome, ready, samples, grams, options)
    for position, task in enumerate(ready):
        own = {dims: meat[position, position] for dims, meat in meats.items()}
        of_task = {d: sums for (place, d), sums in clusters.items() if place == position}
        standard_errors(design, outcome, task, samples[task.sample], own, grams, of_task, options)
    estimated = [position for position, task in enumerate(ready) if not task.reason]
    return score_correlation([ready[i].dims for i in estimated], estimated, meats), samples, grams


def _look_over(design: Design, outcome: int, task: Task, sample: Moments, require: Requirements) -> None:
    """Find what can be known before any regression; drop controls without variation."""
    variance = np.diag(sample.scatter)
    constant = sample.spread <= CONSTANT * sample.raw
    task.n = sample.rows
    if task.dims:
        task.n_clusters = min(sample.clusters[d].clusters for d in task.dims)
    varies = ~constant & (variance > CONSTANT * sample.spread)
    task.absorbed = task.columns[~varies[task.columns]]
    task.columns = task.columns[varies[task.columns]]
    task.keep = task.keep[varies[task.keep]]
    if task.reason:
        return
    if task.n < require.rows:
        task.reason = f"too few rows: {task.n:,} in the sample, {require.rows:,} needed"
        return
    total_means = sample.group_means @ sample.group_rows / task.n + design.shift
    task.outcome_mean, task.driver_mean = float(total_means[outcome]), float(total_means[task.driver])
    away = task.n - int(sample.modal_rows[np.flatnonzero(design.drivers == task.driver)[0]])
    if constant[task.driver]:
        task.reason = "the driver is constant"
    elif constant[outcome]:
        task.reason = "the outcome is constant"
    elif not varies[task.driver]:
        task.reason = "the driver is constant within the absorbed groups"
    elif not varies[outcome]:
        task.reason = "the outcome is constant within the absorbed groups"
    elif away < require.rare_rows:
        task.reason = (
            f"too rare: the driver differs from its most frequent extreme value in {away:,} of {task.n:,} rows, "
            f"{require.rare_rows:,} needed"
        )
    elif task.n_clusters is not None and task.n_clusters < require.clusters:
        task.reason = f"too few clusters: {task.n_clusters:,}, {require.clusters:,} needed"


def _final_regression(
    outcome: int, task: Task, of_outcome: Rlasso, of_driver: Rlasso, sample: Moments, options: Options
) -> None:
    """Effect, and the weights that turn a centred row into residualised driver and residual."""
    from dagster_project.stats.double_lasso import kernels

    scale, correlation = sample.scale, sample.correlation
    task.selected_for_outcome, task.selected_for_driver = of_outcome.selected, of_driver.selected
    task.selected = np.union1d(np.union1d(of_outcome.selected, of_driver.selected), task.keep).astype(np.int64)
    if options.method == "partialling_out":
        driver_weights, outcome_weights = of_driver.residual_weights(scale), of_outcome.residual_weights(scale)
    else:
        chosen = task.selected
        gram = correlation[np.ix_(chosen, chosen)]
        if len(chosen):
            task.rank = int(kernels.cholesky_skipping(gram, np.ones(len(chosen)), len(chosen))[1].sum())
        weights = []
        for target in (task.driver, outcome):
            weight = np.zeros(len(scale))
            coefficients = least_squares(gram, correlation[chosen, target])
            weight[chosen] = -coefficients * scale[target] / scale[chosen]
            weight[target] = 1.0
            weights.append(weight)
        driver_weights, outcome_weights = weights
    if not (of_outcome.converged and of_driver.converged):
        task.reason = "a lasso did not converge"
        return
    spare = task.n - len(task.selected) - sample.groups - 1
    if spare < 1:
        task.reason = f"too few rows: {task.n:,} for {len(task.selected):,} selected controls and absorbed effects"
        return
    squares = float(driver_weights @ sample.scatter @ driver_weights)
    task.residual_share = squares / sample.scatter[task.driver, task.driver]
    if task.residual_share < options.require.residual_share:
        task.reason = (
            f"the controls determine the driver: {100 * max(task.residual_share, 0):.2g} % of its variance is left, "
            f"{100 * options.require.residual_share:.2g} % needed"
        )
        return
    task.effect = float(driver_weights @ sample.scatter @ outcome_weights) / squares
    task.driver_squares, task.driver_weights = squares, driver_weights
    task.residual_weights = outcome_weights - task.effect * driver_weights


def _dimensions(tasks: list[Task]) -> list[Dimensions]:
    """Sums of scores that the tasks need: rows, each cluster dimension, and the intersection of a pair."""
    wanted: dict[Dimensions, None] = {(): None}
    for task in tasks:
        for d in task.dims:
            wanted[(d,)] = None
        if len(task.dims) == 2:
            wanted[tuple(sorted(task.dims))] = None
    return list(wanted)


def _gram_columns(design: Design, outcome: int, tasks: list[Task], options: Options) -> dict[tuple[int, int], Any]:
    """Columns whose scatter by cluster the jackknife and the wild bootstrap need."""
    columns: dict[tuple[int, int], set[int]] = {}
    for task in tasks:
        wanted = set(task.dims) if options.std_error == "jackknife" else set()
        if options.wild is not None:
            wanted.add(options.wild)
        for d in wanted:
            if design.n_clusters[d] <= JACKKNIFE_CLUSTERS and not design.contiguous[d]:
                used = columns.setdefault((task.sample, d), {outcome})
                used.update(np.flatnonzero((task.driver_weights != 0) | (task.residual_weights != 0)).tolist())
                used.update(task.selected.tolist())
    return {key: np.array(sorted(used)) for key, used in columns.items()}


def _grams(design: Design, samples: list[Moments], columns: dict[tuple[int, int], Any]) -> dict[Any, SampleGrams]:
    """Sums by cluster, of which the smaller ones are kept, as far as memory goes."""
    grams = {
        (sample, d): SampleGrams(design, samples[sample], sample, d, used) for (sample, d), used in columns.items()
    }
    spent = 0
    for parts in sorted(grams.values(), key=lambda parts: parts.size):
        spent += parts.size
        parts.is_kept = spent <= gram.SLICE_BYTES
    return grams
