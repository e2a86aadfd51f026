"""The double lasso of many drivers at once, from a table or a stream of rows.

References:
    [1] Belloni, Chernozhukov and Hansen (2014), Inference on treatment effects after selection among high-dimensional
        controls, Review of Economic Studies 81, 608-650: section 2.3 (double selection), eq. 2.9 onwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.double_lasso.fits import Model, fit_models
from dagster_project.stats.double_lasso.task import Loadings, Method, Requirements, StdError

if TYPE_CHECKING:
    import pandas as pd


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
    loadings: Loadings = "cluster",
    std_error: StdError = "jackknife",
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

    Memory, beyond a table given: a block of 8,192 rows, some matrices of columns x columns for each sample, 8 bytes for
    each cluster and used column, and at most half a gigabyte of sums by cluster, whatever their number: where these
    would be more, they are taken in slices of the clusters, a pass each.

    Args:
        data: pandas frame, pyarrow table, or a function without arguments that returns an iterator of pyarrow
            RecordBatches. The function is called once for every pass (at most 18, commonly 7, whatever the number of
            drivers; more where sums by cluster are in slices) and must return the same rows in the same order; the
            rows are never held together.
        outcome, drivers: columns of numbers or booleans
        controls: columns of numbers, booleans or text. Text becomes one 0/1 column a level, "column=level", without the
            most frequent; levels under 30 rows share "column=(other)". A missing number counts as the mean and is
            marked by "column is missing" (from 30 missing rows on); missing text is a level of its own. A driver may be
            a control of other drivers.
        absorb: column whose groups' effects are partialled out
        cluster: column, pair of columns, or such for each driver; see `double_lasso`. A stream whose rows follow each
            other cluster by cluster in a column of many values (learners) needs no slices for that column.
        eligible: for each driver the controls it may use; a driver not named may use all
        sample: boolean column, or one for each driver, that says which rows count (null: not)
        keep: controls, or controls for each driver, that are in the final regression whatever the lassos say (the
            amelioration set of [1])
        wild_bootstrap: column whose wild cluster bootstrap p-value is put beside, if it has at most 10,000 values
        loadings, std_error: see `double_lasso`
        level: of the confidence interval
        require: what a driver must have to be estimated
        draws, seed: of Romano-Wolf and the wild bootstrap

    Returns:
        frame, one row a driver in the order of ``drivers``: driver, status ("estimated" or "not estimable"), reason,
        effect (outcome units for one unit of the driver), std_error, std_error_kind, degrees_of_freedom, p_value,
        conf_low, conf_high, q_value (Benjamini-Hochberg over the estimated drivers), romano_wolf_p, wild_bootstrap_p,
        std_error_robust (heteroskedastic), std_error_cluster (one-way sandwich by the first cluster column),
        without_one_low, without_one_high (least and largest effect when one cluster of ``wild_bootstrap`` is left out),
        n, n_clusters (of the smaller dimension), n_controls (columns in the lassos), selected (tuple of columns),
        selected_for_outcome, selected_for_driver, absorbed (tuple of eligible columns that the absorbed effects or the
        sample make constant), outcome_mean, driver_mean, residual_share (of the driver's variance within absorbed
        groups, after the controls), robustness_value, benchmark_control, benchmark_r2_driver, benchmark_r2_outcome
        (Cinelli and Hazlett: the strongest selected control).

    Raises:
        ValueError: a name is unknown or a column unfit; what makes a single driver unfit is a row of the result
            instead.
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
        loadings=loadings,
        std_error=std_error,
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
