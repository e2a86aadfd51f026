"""Effect of a driver on an outcome with many possible controls: double lasso, for one driver or for all at once.

Two lassos say which controls predict the outcome and which predict the driver; the effect is the driver's coefficient
in a least-squares regression with the controls of either. Overlooking a control then needs two mistakes, which is why
the ordinary standard error remains valid after the selection.

References
----------
.. [1] Belloni, Chernozhukov and Hansen (2014), Inference on treatment effects after selection among high-dimensional
       controls, Review of Economic Studies 81, 608-650: section 2.3 (double selection), eq. 2.9 onwards.
.. [2] Chernozhukov, Hansen and Spindler (2016), hdm: High-dimensional metrics, R Journal 8, 185-199.
.. [3] Belloni, Chernozhukov, Hansen and Kozbur (2016), Inference in high-dimensional panel models with an application
       to gun control, J. Business & Economic Statistics 34, 590-605: clusters and partialled-out effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from dagster_project.stats import inference
from dagster_project.stats.design import FEW_CLUSTERS, Batches, Design, array_design, table_design
from dagster_project.stats.gram import ClusterGrams, Dimensions, Moments, final_sums, moments, score_squares
from dagster_project.stats.rlasso import Rlasso, cholesky_skipping, fit_all, least_squares, penalty_level

Method = Literal["double_selection", "partialling_out"]

CONSTANT = 1e-10  # share of a column's sum of squares below which it counts as none


@dataclass(frozen=True)
class Requirements:
    """What a driver must have to be estimated; what fails is reported as "not estimable"."""

    rows: int = 100
    rare_rows: int = 30  # rows that differ from the driver's most frequent extreme value
    clusters: int = 10
    residual_share: float = 0.01  # of the driver's variance, after controls and absorbed effects
    cluster_share: float = 0.5  # largest share of that residual variance which one cluster may carry
    clusters_per_control: int = 5  # for drivers fixed within clusters: clusters for each selected control that is, too


_WHATEVER_COMPUTES = Requirements(
    rows=3, rare_rows=1, clusters=2, residual_share=1e-8, cluster_share=np.inf, clusters_per_control=0
)


@dataclass(frozen=True)
class DoubleLassoFit:
    """Result of `double_lasso`.

    Attributes
    ----------
    effect : change of the outcome, in its units, for one unit of the driver
    std_error : the primary standard error, of the kind ``std_error_kind`` says: "heteroskedastic", "classical",
        "jackknife" (over clusters), "cluster", "two-way", "one-way" (two-way clusters, the larger one-way error)
    std_errors : all that were computed, by kind
    degrees_of_freedom : of t for ``p_value`` and ``conf_int``; infinite without clusters
    selected : column numbers of the selected controls, ascending
    n, n_clusters : rows; clusters (of the smaller dimension; None without)
    n_controls : columns that entered the lassos, without those that are constant or absorbed
    robustness_value : share of the residual variance of both driver and outcome that an unseen confounder would have
        to explain to bring the effect to zero
    """

    effect: float
    std_error: float
    std_error_kind: str
    std_errors: dict[str, float]
    degrees_of_freedom: float
    p_value: float
    selected: np.ndarray
    n: int
    n_clusters: int | None
    n_controls: int
    robustness_value: float

    def conf_int(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the effect, (low, high)."""
        return inference.interval(self.effect, self.std_error, self.degrees_of_freedom, level)


def double_lasso(
    outcome: np.ndarray,
    driver: np.ndarray,
    controls: np.ndarray,
    *,
    method: Method = "double_selection",
    absorb: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
    c: float = 1.1,
    gamma: float | None = None,
    post: bool = True,
) -> DoubleLassoFit:
    """Effect of one driver, from arrays.

    Parameters
    ----------
    outcome, driver : arrays (n,)
    controls : array (n, p); p may exceed n
    method : "double_selection" ([1] section 2.3) or "partialling_out" (the outcome's lasso residual on the driver's)
    absorb : array (n,) of group labels whose fixed effects are partialled out of every column, unpenalised
    clusters : array (n,) or (n, 2) of cluster labels. One way: standard error by the delete-one-cluster jackknife up
        to 1,000 clusters, the sandwich above. Two ways: sum of both less the intersection, never below the larger
        one-way error. The lasso loadings use the first column.
    c, gamma : constants of the penalty, see `rlasso.penalty_level`
    post : refit each lasso by least squares on its support

    Without clusters and absorbed effects the numbers are those of R's ``hdm::rlassoEffect`` [2], with its stopping
    rule applied to variables of standard deviation 1 so that units do not matter.

    Raises
    ------
    ValueError
        Shapes differ, values are missing or infinite, or the effect cannot be estimated; the message has the reason.
    """
    outcome, driver = _vector(outcome, "outcome"), _vector(driver, "driver")
    controls = np.asarray(controls, dtype=np.float64)
    n = len(outcome)
    if controls.ndim != 2 or len(controls) != n or len(driver) != n:
        raise ValueError(
            f"outcome {outcome.shape}, driver {driver.shape} and controls {controls.shape} must have the same rows."
        )
    if not np.isfinite(controls).all():
        bad = np.flatnonzero(~np.isfinite(controls).all(axis=0))
        raise ValueError(f"controls: columns {bad.tolist()[:10]} hold missing or infinite values.")
    labels = [] if clusters is None else list(np.asarray(clusters).reshape(n, -1).T)
    if len(labels) > 2:
        raise ValueError(f"clusters: one or two columns were expected, found {len(labels)}.")
    groups = None if absorb is None else np.asarray(absorb).reshape(n)
    design = array_design(outcome, driver, controls, groups, labels)
    p = controls.shape[1]
    task = Task("driver", p, 0, np.arange(p), np.array([], dtype=np.int64), tuple(range(len(labels))))
    options = _Options(method, c, gamma, post, _WHATEVER_COMPUTES)
    _estimate(design, p + 1, [task], options)
    if task.reason:
        raise ValueError(f"The effect is not estimable: {task.reason}.")
    return DoubleLassoFit(
        effect=task.effect,
        std_error=task.std_error,
        std_error_kind=task.kind,
        std_errors=task.std_errors,
        degrees_of_freedom=task.degrees,
        p_value=inference.p_value(task.effect, task.std_error, task.degrees),
        selected=task.selected,
        n=task.n,
        n_clusters=task.n_clusters,
        n_controls=task.n_controls,
        robustness_value=task.robustness_value,
    )


def double_lasso_many(
    data: pd.DataFrame | pa.Table | Batches,
    *,
    outcome: str,
    drivers: Sequence[str],
    controls: Sequence[str],
    absorb: str | None = None,
    cluster: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    eligible: Mapping[str, Sequence[str]] | None = None,
    sample: str | Mapping[str, str | None] | None = None,
    keep: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    wild_bootstrap: str | None = None,
    method: Method = "double_selection",
    c: float = 1.1,
    gamma: float | None = None,
    post: bool = True,
    level: float = 0.95,
    require: Requirements | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Effects of many drivers, one model each, from one shared Gram matrix.

    Parameters
    ----------
    data : pandas frame, pyarrow table, or a function without arguments that returns an iterator of pyarrow
        RecordBatches. The function is called once for every pass (at most 18, commonly 7, whatever the number of
        drivers) and must return the same rows in the same order; the rows are never held together.
    outcome, drivers : columns of numbers or booleans
    controls : columns of numbers, booleans or text. Text becomes one 0/1 column a level, "column=level", without the
        most frequent; levels under 30 rows share "column=(other)". A missing number counts as the mean and is marked
        by "column is missing" (from 30 missing rows on); missing text is a level of its own. A driver may be a control
        of other drivers.
    absorb : column whose groups' effects are partialled out
    cluster : column, pair of columns, or such for each driver; see `double_lasso`. At most one column may have more
        than 1,000 values, and a stream must then come ordered by it.
    eligible : for each driver the controls it may use; a driver not named may use all
    sample : boolean column, or one for each driver, that says which rows count (null: not)
    keep : controls, or controls for each driver, that are in the final regression whatever the lassos say (the
        amelioration set of [1])
    wild_bootstrap : column with at most 1,000 values whose wild cluster bootstrap p-value is put beside
    level : of the confidence interval
    require : what a driver must have to be estimated
    draws, seed : of Romano-Wolf and the wild bootstrap

    Returns
    -------
    frame, one row a driver in the order of ``drivers``:
    driver, status ("estimated" or "not estimable"), reason,
    effect (outcome units for one unit of the driver), std_error, std_error_kind, degrees_of_freedom, p_value,
    conf_low, conf_high, q_value (Benjamini-Hochberg over the estimated drivers), romano_wolf_p, wild_bootstrap_p,
    std_error_robust (heteroskedastic), std_error_cluster (one-way sandwich by the first cluster column),
    without_one_low, without_one_high (least and largest effect when one cluster of ``wild_bootstrap`` is left out),
    n, n_clusters (of the smaller dimension), n_controls (columns in the lassos), selected (tuple of columns),
    selected_for_outcome, selected_for_driver, absorbed (tuple of eligible columns that the absorbed effects or the
    sample make constant), outcome_mean, driver_mean, residual_share (of the driver's variance within absorbed groups,
    after the controls), robustness_value, benchmark_control, benchmark_r2_driver, benchmark_r2_outcome (Cinelli and
    Hazlett: the strongest selected control).

    Memory, beyond a table given: a block of 8,192 rows, some matrices of columns x columns for each sample, and for
    each cluster column with at most 1,000 values 8 bytes x clusters x (drivers + selected controls) squared.

    Raises
    ------
    ValueError
        A name is unknown or a column unfit; what makes a single driver unfit is a row of the result instead.
    """
    if not drivers:
        raise ValueError("drivers: at least one column was expected.")
    repeated = sorted({name for names in (drivers, controls) for name in names if list(names).count(name) > 1})
    if repeated or outcome in drivers or outcome in controls:
        raise ValueError(f"Columns must be named once, and the outcome is no driver or control: {repeated or outcome}.")
    if method == "partialling_out" and keep:
        raise ValueError("keep needs method='double_selection': partialling out has no final set of controls.")
    clusters_of = {driver: _names(_for(cluster, driver)) for driver in drivers}
    eligible_of = {driver: list((eligible or {}).get(driver, controls)) for driver in drivers}
    keep_of = {driver: _names(_for(keep, driver)) for driver in drivers}
    _check_names(drivers, controls, clusters_of, eligible_of, keep_of, {"eligible": eligible, "sample": sample})
    models = [
        Model(driver, driver, eligible_of[driver], keep_of[driver], _for(sample, driver), clusters_of[driver])
        for driver in drivers
    ]
    fits = fit_models(
        data,
        models,
        outcome=outcome,
        controls=controls,
        absorb=absorb,
        wild_bootstrap=wild_bootstrap,
        method=method,
        c=c,
        gamma=gamma,
        post=post,
        level=level,
        require=require,
        draws=draws,
        seed=seed,
    )
    return fits.table.drop(columns="model")


@dataclass(frozen=True)
class Model:
    """One regression of `fit_models`.

    Attributes
    ----------
    name : of the model; a driver may have several
    driver : column whose effect is asked
    candidates : controls among which the lassos choose; none: least squares on ``keep``
    keep : controls that are in the final regression whatever the lassos say. Here, too, a single level of a text
        column may be named, "column=level", so that what one fit selected can be another's ``keep``.
    sample : boolean column that says which rows count
    cluster : none, one or two columns
    """

    name: str
    driver: str
    candidates: Sequence[str] = ()
    keep: Sequence[str] = ()
    sample: str | None = None
    cluster: Sequence[str] = ()


@dataclass(frozen=True)
class Fits:
    """What `fit_models` found, and the sums that further questions about the same regressions need no rows for.

    Attributes
    ----------
    table : as `double_lasso_many`, with the model's name in front
    design, outcome : the shared design, and the outcome's column number in it
    tasks : one a model, in their order
    samples : moments by sample; ``tasks[i].sample`` is a position in it
    clusters : names of the cluster dimensions; ``tasks[i].dims`` are positions in it
    grams : scatter by cluster of every column that a model used, by (sample, cluster dimension)
    correlation : of the scores of the estimated models, which `inference.romano_wolf` takes
    """

    table: pd.DataFrame
    design: Design
    outcome: int
    tasks: list[Task]
    samples: list[Moments]
    clusters: list[str]
    grams: dict[tuple[int, int], ClusterGrams]
    correlation: np.ndarray


def fit_models(
    data: pd.DataFrame | pa.Table | Batches,
    models: Sequence[Model],
    *,
    outcome: str,
    controls: Sequence[str],
    absorb: str | None = None,
    wild_bootstrap: str | None = None,
    more_clusters: Sequence[str] = (),
    jackknife: bool = True,
    method: Method = "double_selection",
    c: float = 1.1,
    gamma: float | None = None,
    post: bool = True,
    level: float = 0.95,
    require: Requirements | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> Fits:
    """Regressions that share rows and columns, each with its own driver, controls, sample and clusters.

    `double_lasso_many` with one model a driver; the parameters that both have are described there. ``controls`` are
    all columns that any model may use. ``more_clusters`` are cluster columns that no model uses but the caller wants in
    the design. Without ``jackknife`` one-way clustered errors are the sandwich, which needs no scatter by cluster and
    so no memory that grows with clusters x columns squared.
    """
    drivers = list(dict.fromkeys(model.driver for model in models))
    cluster_names = list(dict.fromkeys([name for model in models for name in model.cluster]))
    cluster_names += [name for name in (wild_bootstrap, *more_clusters) if name and name not in cluster_names]
    samples = list(dict.fromkeys(model.sample for model in models))
    made = table_design(
        data,
        outcome=outcome,
        drivers=drivers,
        controls=controls,
        absorb=absorb,
        clusters=cluster_names,
        samples=samples,
    )
    wild = None if wild_bootstrap is None else cluster_names.index(wild_bootstrap)
    if wild is not None and made.design.contiguous[wild]:
        raise ValueError(f"wild_bootstrap: '{wild_bootstrap}' has more than {FEW_CLUSTERS:,} values.")
    levels = {name: [j] for j, name in enumerate(made.design.columns[: made.design.n_controls])}
    columns_of = levels | made.control_columns

    tasks = []
    for model in models:
        k = samples.index(model.sample)
        allowed = [name for name in model.candidates if name != model.driver]
        columns = _sorted(j for name in allowed for j in columns_of[name])
        kept = _sorted({j for name in model.keep for j in columns_of[name]})
        dims = tuple(cluster_names.index(name) for name in model.cluster)
        task = Task(model.driver, made.driver_columns[model.driver], k, columns, kept, dims)
        for name in (outcome, model.driver):
            if made.not_finite[name][k]:
                task.reason = f"'{name}' is missing or infinite in {made.not_finite[name][k]:,} rows of the sample"
        unusable = [made.unusable[name] for name in allowed if name in made.unusable]
        task.reason = task.reason or "; ".join(unusable)
        tasks.append(task)
    options = _Options(method, c, gamma, post, require or Requirements(), wild, jackknife, draws, seed)
    correlation, moments_of, grams = _estimate(made.design, made.outcome, tasks, options)
    table = _table(made.design, tasks, correlation, level, draws, seed)
    table.insert(0, "model", [model.name for model in models])
    return Fits(table, made.design, made.outcome, tasks, moments_of, cluster_names, grams, correlation)


@dataclass(frozen=True)
class _Options:
    method: Method
    c: float
    gamma: float | None
    post: bool
    require: Requirements
    wild: int | None = None
    jackknife: bool = True
    draws: int = 9999
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("double_selection", "partialling_out"):
            raise ValueError(f"method: 'double_selection' or 'partialling_out' was expected, found {self.method!r}.")


@dataclass
class Task:
    """One regression: what is asked, in column numbers of the design, then what was found.

    ``reason`` says why there is no estimate. ``driver_weights`` and ``residual_weights`` (columns of the design,) turn
    a row, centred at its group's means, into the driver given the controls and into the residual.
    """

    name: str
    driver: int
    sample: int
    columns: np.ndarray
    keep: np.ndarray
    dims: tuple[int, ...]
    reason: str = ""
    n: int = 0
    n_clusters: int | None = None
    absorbed: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    outcome_mean: float = np.nan
    driver_mean: float = np.nan
    selected_for_outcome: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    selected_for_driver: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    selected: np.ndarray = field(default_factory=lambda: np.array([], dtype=np.int64))
    rank: int = 0
    driver_weights: np.ndarray | None = None
    residual_weights: np.ndarray | None = None
    driver_squares: float = np.nan
    residual_share: float = np.nan
    effect: float = np.nan
    std_error: float = np.nan
    kind: str = ""
    std_errors: dict[str, float] = field(default_factory=dict)
    degrees: float = np.nan
    wild_p: float = np.nan
    without_one: tuple[float, float] = (np.nan, np.nan)
    robustness_value: float = np.nan
    benchmark: tuple[int, float, float] | None = None

    @property
    def n_controls(self) -> int:
        return len(self.columns)


def _estimate(
    design: Design, outcome: int, tasks: list[Task], options: _Options
) -> tuple[np.ndarray, list[Moments], dict[tuple[int, int], ClusterGrams]]:
    """Fill in the tasks; returns the correlation (estimated, estimated) of the estimated drivers' scores, and the sums
    that led there."""
    samples = moments(design)
    scales, correlations = [s.scale for s in samples], [s.correlation for s in samples]
    for task in tasks:
        _look_over(design, outcome, task, samples[task.sample], options.require)
    ready = [task for task in tasks if not task.reason]

    lassos: dict[tuple[Any, ...], Rlasso] = {}

    def lasso(task: Task, target: int) -> Rlasso:
        """The lasso of the target, shared between drivers with the same rows, controls and clusters."""
        main = task.dims[0] if task.dims else None
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

    meats, grams = final_sums(
        design,
        samples,
        [task.sample for task in ready],
        np.column_stack([task.driver_weights for task in ready]),
        np.column_stack([task.residual_weights for task in ready]),
        _dimensions(ready),
        _gram_columns(design, outcome, ready, options),
    )
    for position, task in enumerate(ready):
        own = {dims: meat[position, position] for dims, meat in meats.items()}
        _standard_errors(design, outcome, task, samples[task.sample], own, grams, options)
    estimated = [position for position, task in enumerate(ready) if not task.reason]
    return _score_correlation([ready[i].dims for i in estimated], estimated, meats), samples, grams


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
    outcome: int, task: Task, of_outcome: Rlasso, of_driver: Rlasso, sample: Moments, options: _Options
) -> None:
    """Effect, and the weights that turn a centred row into residualised driver and residual."""
    scale, correlation = sample.scale, sample.correlation
    task.selected_for_outcome, task.selected_for_driver = of_outcome.selected, of_driver.selected
    task.selected = np.union1d(np.union1d(of_outcome.selected, of_driver.selected), task.keep).astype(np.int64)
    if options.method == "partialling_out":
        driver_weights, outcome_weights = of_driver.residual_weights(scale), of_outcome.residual_weights(scale)
    else:
        chosen = task.selected
        gram = correlation[np.ix_(chosen, chosen)]
        if len(chosen):
            task.rank = int(cholesky_skipping(gram, np.ones(len(chosen)), len(chosen))[1].sum())
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


def _gram_columns(design: Design, outcome: int, tasks: list[Task], options: _Options) -> dict[tuple[int, int], Any]:
    """Columns whose scatter by cluster the jackknife and the wild bootstrap need."""
    columns: dict[tuple[int, int], set[int]] = {}
    for task in tasks:
        for d in {*(task.dims if options.jackknife else ()), options.wild} - {None}:
            if not design.contiguous[d]:
                used = columns.setdefault((task.sample, d), {outcome})
                used.update(np.flatnonzero((task.driver_weights != 0) | (task.residual_weights != 0)).tolist())
                used.update(task.selected.tolist())
    return {key: np.array(sorted(used)) for key, used in columns.items()}


def _standard_errors(
    design: Design,
    outcome: int,
    task: Task,
    sample: Moments,
    meat: dict[Dimensions, float],
    grams: dict[tuple[int, int], ClusterGrams],
    options: _Options,
) -> None:
    n, groups, squares = task.n, sample.groups, task.driver_squares
    residual_squares = float(task.residual_weights @ sample.scatter @ task.residual_weights)
    if options.method == "partialling_out":
        spent = groups  # hdm counts the second regression only
        task.std_errors["classical"] = float(np.sqrt(residual_squares / (n - 1 - groups) / squares))
    else:
        spent = len(task.selected) + groups
    task.std_errors["heteroskedastic"] = float(np.sqrt(meat[()] * n / (n - spent))) / squares
    task.kind, task.degrees = next(iter(task.std_errors)), np.inf

    # columns of the final regression: controls, driver, outcome
    if options.method == "partialling_out":
        weights = np.column_stack([task.driver_weights, task.residual_weights + task.effect * task.driver_weights])
    else:
        weights = np.eye(len(design.columns))[:, [*task.selected, task.driver, outcome]]
    total = weights.T @ sample.scatter @ weights
    if task.dims:
        _cluster_errors(task, sample, meat, total, weights, grams, options.require)
    if options.wild is not None and not task.reason:
        projected = grams[task.sample, options.wild].project(weights)
        slopes = inference.leave_one_out(total, projected, sample.group_rows)
        if np.isfinite(slopes).all():
            task.without_one = float(slopes.min()), float(slopes.max())
        task.wild_p = inference.wild_bootstrap_p(
            total, projected, sample.group_rows, draws=options.draws, seed=options.seed
        )
    task.std_error = task.std_errors.get(task.kind, np.nan)
    explained = task.effect**2 * squares
    task.robustness_value = inference.robustness_value(explained / (explained + residual_squares))
    if options.method == "double_selection":
        strongest = inference.strongest_control(total)
        if strongest is not None:
            task.benchmark = (int(task.selected[strongest[0]]), *strongest[1:])
    if not task.reason and not task.std_error > 0:
        task.reason = "the standard error is zero: the model fits the outcome exactly"


def _cluster_errors(
    task: Task,
    sample: Moments,
    meat: dict[Dimensions, float],
    total: np.ndarray,
    weights: np.ndarray,
    grams: dict[tuple[int, int], ClusterGrams],
    require: Requirements,
) -> None:
    counts = [sample.clusters[d] for d in task.dims]
    groups = 1 if any(count.contain_groups for count in counts) else sample.groups
    coefficients = task.rank + 1 + groups
    bread = task.driver_squares**2
    factor = inference.cluster_factor(task.n, coefficients, task.n_clusters)
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
        if (task.sample, d) in grams and not task.reason:
            task.reason = _concentration(task, sample, grams[task.sample, d], require)
    if len(task.dims) == 1 and (task.sample, task.dims[0]) in grams and not task.reason:
        projected = grams[task.sample, task.dims[0]].project(weights)
        slopes = inference.leave_one_out(total, projected, sample.group_rows)
        if np.isnan(slopes).any():
            task.reason = "without one of the clusters the controls determine the driver"
            return
        task.kind = "jackknife"
        task.std_errors["jackknife"] = float(np.sqrt(inference.jackknife_variance(slopes, task.effect)))


def _concentration(task: Task, sample: Moments, gram: ClusterGrams, require: Requirements) -> str:
    """Why the driver rests on too few clusters, if it does."""
    share = gram.project(task.driver_weights[:, None]).scatter[:, 0, 0].max() / task.driver_squares
    if share > require.cluster_share:
        return (
            f"one of {len(gram.scatter):,} clusters carries {100 * share:.0f} % of the driver's variation, "
            f"at most {100 * require.cluster_share:.0f} % allowed"
        )
    fixed = set(gram.columns[gram.fixed_within_clusters(np.diag(sample.scatter)[gram.columns])])
    controls = len(fixed.intersection(task.selected.tolist()))
    if task.driver in fixed and controls * require.clusters_per_control > len(gram.scatter):
        return (
            f"{controls:,} selected controls are fixed within clusters like the driver, with {len(gram.scatter):,} "
            f"clusters: {require.clusters_per_control} clusters for each are needed"
        )
    return ""


def _score_correlation(
    dims: Sequence[tuple[int, ...]], positions: Sequence[int], meats: Mapping[Dimensions, np.ndarray]
) -> np.ndarray:
    """Correlation of the drivers' scores by the clusters that two drivers share; 0 if they share none, which is the
    cautious choice for the largest of several t-values."""
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


def _table(
    design: Design, tasks: list[Task], correlation: np.ndarray, level: float, draws: int, seed: int
) -> pd.DataFrame:
    def names(columns: np.ndarray) -> tuple[str, ...]:
        return tuple(design.columns[j] for j in columns)

    rows = []
    for task in tasks:
        row: dict[str, Any] = {
            "driver": task.name,
            "status": "not estimable" if task.reason else "estimated",
            "reason": task.reason or None,
        }
        found = dict.fromkeys(
            ["effect", "std_error", "degrees_of_freedom", "p_value", "conf_low", "conf_high", "q_value"], np.nan
        )
        found |= dict.fromkeys(["romano_wolf_p", "wild_bootstrap_p", "std_error_robust", "std_error_cluster"], np.nan)
        found |= dict.fromkeys(["without_one_low", "without_one_high"], np.nan)
        if not task.reason:
            low, high = inference.interval(task.effect, task.std_error, task.degrees, level)
            found |= {
                "effect": task.effect,
                "std_error": task.std_error,
                "degrees_of_freedom": task.degrees,
                "p_value": inference.p_value(task.effect, task.std_error, task.degrees),
                "conf_low": low,
                "conf_high": high,
                "wild_bootstrap_p": task.wild_p,
                "without_one_low": task.without_one[0],
                "without_one_high": task.without_one[1],
                "std_error_robust": task.std_errors["heteroskedastic"],
                "std_error_cluster": task.std_errors.get("cluster", np.nan),
            }
        row |= found
        row |= {
            "std_error_kind": None if task.reason else task.kind,
            "n": task.n,
            "n_clusters": task.n_clusters,
            "n_controls": task.n_controls,
            "selected": names(task.selected),
            "selected_for_outcome": names(task.selected_for_outcome),
            "selected_for_driver": names(task.selected_for_driver),
            "absorbed": names(task.absorbed),
            "outcome_mean": task.outcome_mean,
            "driver_mean": task.driver_mean,
            "residual_share": task.residual_share,
            "robustness_value": np.nan if task.reason else task.robustness_value,
        }
        control, with_driver, with_outcome = task.benchmark or (None, np.nan, np.nan)
        row |= {
            "benchmark_control": None if control is None else design.columns[control],
            "benchmark_r2_driver": with_driver,
            "benchmark_r2_outcome": with_outcome,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    table["n_clusters"] = table["n_clusters"].astype("Int64")
    estimated = (table["status"] == "estimated").to_numpy()
    if estimated.any():
        p_values = table.loc[estimated, "p_value"].to_numpy()
        degrees = table.loc[estimated, "degrees_of_freedom"].to_numpy()
        table.loc[estimated, "q_value"] = inference.benjamini_hochberg(p_values)
        table.loc[estimated, "romano_wolf_p"] = inference.romano_wolf(
            p_values, degrees, correlation, draws=draws, seed=seed
        )
    return table


def _vector(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name}: an array (n,) was expected, found shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {int((~np.isfinite(values)).sum()):,} values are missing or infinite.")
    return values


def _sorted(numbers: Iterable[int]) -> np.ndarray:
    return np.array(sorted(numbers), dtype=np.int64)


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _for(value: Any, driver: str) -> Any:
    """What a setting that is one for all, or one for each driver, says for this driver."""
    return value.get(driver) if isinstance(value, Mapping) else value


def _check_names(
    drivers: Sequence[str],
    controls: Sequence[str],
    clusters_of: Mapping[str, tuple[str, ...]],
    eligible_of: Mapping[str, Sequence[str]],
    keep_of: Mapping[str, Sequence[str]],
    mappings: Mapping[str, Any],
) -> None:
    for setting, value in mappings.items():
        unknown = sorted(set(value) - set(drivers)) if isinstance(value, Mapping) else []
        if unknown:
            raise ValueError(f"{setting} names drivers that are not in drivers: {unknown}.")
    for driver in drivers:
        for setting, names in (("eligible", eligible_of[driver]), ("keep", keep_of[driver])):
            unknown = sorted(set(names) - set(controls))
            if unknown:
                raise ValueError(f"{setting} of '{driver}' names columns that are not in controls: {unknown}.")
        if driver in keep_of[driver]:
            raise ValueError(f"keep of '{driver}' names the driver itself.")
        if len(set(clusters_of[driver])) != len(clusters_of[driver]) or len(clusters_of[driver]) > 2:
            raise ValueError(
                f"cluster of '{driver}': one or two different columns were expected, found {clusters_of[driver]}."
            )
