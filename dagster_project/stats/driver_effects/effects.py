"""A row for each driver: over all programs, and within each of them, drawn to the mean of all.

References:
    [1] Paule and Mandel (1982), J. Research of the National Bureau of Standards 87, 377-385: the variance between
        programs.
    [2] Efron and Morris (1975), J. American Statistical Association 70, 311-319: the shrinkage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.double_lasso.fits import fit_models
from dagster_project.stats.double_lasso.task import Requirements, Task
from dagster_project.stats.driver_effects.level import Driver, Level, concatenate
from dagster_project.stats.driver_effects.logit import logit_percents
from dagster_project.stats.driver_effects.percent import metric, percent, sensitivity

if TYPE_CHECKING:
    import pandas as pd

LOGIT_POINTS = 0.5  # a logit's percent may differ from the linear one by so much, or by a standard error
PROGRAM_REQUIREMENTS = Requirements(rows=200, rare_rows=30, clusters=6)
CLUSTER_WORDS = {
    "program_term": "first terms of programs",
    "course": "courses in the first term",
    "learner": "learners",
}
WITHHELD = "withheld: with the figures of all programs, those of a program with very few rows would follow"


class Family(NamedTuple):
    """Drivers that were estimated on the same rows, those of a program (None: all), and how their scores correlate."""

    program: str | None
    drivers: list[str]
    correlation: np.ndarray


def effects_over_all(level: Level) -> pd.DataFrame:
    """One row a driver, over all programs."""
    import pandas as pd

    found = {} if level.main is None else level.main.table.set_index("model").to_dict("index")
    logits = {}
    if level.main is not None:
        percents = logit_percents(level.main, [d.low for d in level.fitted], [d.high for d in level.fitted])
        logits = dict(zip(level.main.table["model"], percents, strict=True))
    rows = []
    for driver in level.drivers:
        row = _describe_row(level, driver, found.get(driver.id), level.outcome_means)
        if row["status"] == "estimated":
            row |= sensitivity(row, found[driver.id])
            row["logit_percent"] = logits[driver.id]
            gap = abs(row["logit_percent"] - row["percent"])
            row["is_logit_different"] = bool(not gap <= max(LOGIT_POINTS, row["percent_std_error"]))
            if level.wild == level.columns.program:
                ends = [found[driver.id][f"without_one_{end}"] for end in ("low", "high")]
                ends = sorted(percent(alpha, row) for alpha in ends)
                row["without_one_program_low_percent"], row["without_one_program_high_percent"] = ends
        rows.append(row)
    return pd.DataFrame(rows)


def _describe_row(
    level: Level, driver: Driver, fit: dict[str, Any] | None, means: Mapping[Any, float]
) -> dict[str, Any]:
    """A driver with its contrast and, if there is a fit, its figures; `means` are those of the outcome, by driver."""
    row: dict[str, Any] = {
        "driver_id": driver.id,
        "program_key": None,
        "position": driver.position,
        "level": level.name,
        "contrast_rule": driver.rule,
        "contrast_low": driver.low,
        "contrast_high": driver.high,
        "driver_q25": driver.quantile(0.25),
        "driver_median": driver.quantile(0.5),
        "driver_q75": driver.quantile(0.75),
        "candidate_control_columns": len(driver.controls),
    }
    if fit is None:
        return row | {"status": "not estimable", "reason": driver.reason, "row_count": 0}
    row |= {
        "status": fit["status"],
        "reason": _in_words(driver, fit["reason"]),
        "row_count": fit["n"],
        "cluster_count": fit["n_clusters"],
        "clustered_by": " and ".join(driver.clusters).replace("_", " × "),
        "control_count": fit["n_controls"],
        "selected_control_count": len(fit["selected"]),
        "selected_controls": ", ".join(fit["selected"]),
        "outcome_mean": means[driver.id] if np.isfinite(fit["outcome_mean"]) else np.nan,  # none of too few rows
        "driver_mean": fit["driver_mean"],
        "residual_share": fit["residual_share"],
    }
    if fit["status"] != "estimated":
        return row
    row |= {name: fit[name] for name in ("effect", "std_error", "std_error_kind", "degrees_of_freedom", "p_value")}
    row["wild_bootstrap_p"] = fit["wild_bootstrap_p"]  # not a number within a program
    row |= metric(row, fit["conf_low"], fit["conf_high"])
    own = row | {"contrast_low": row["driver_q25"], "contrast_high": row["driver_q75"]}
    if driver.contrast_rule != "zero_to_one" and own["contrast_low"] < own["contrast_high"]:
        row["own_quartiles_percent"] = percent(row["effect"], own)
    return row


def _in_words(driver: Driver, reason: object) -> str | None:
    """Why there is no estimate; of clusters, which of them there are too few."""
    if not isinstance(reason, str):
        return None
    what = " or ".join(CLUSTER_WORDS[cluster] for cluster in driver.clusters)
    return reason.replace("too few clusters", f"too few {what} to tell chance from more")


def effects_by_program(level: Level) -> tuple[pd.DataFrame, list[Family]]:
    """Each driver within each program, selected anew, at the contrast of all programs; and how the scores correlate."""
    import pandas as pd

    if level.main is None:
        return pd.DataFrame(), []
    tables, families = [], []
    for program, table in _by_key(level.rows, level.columns.program):
        fits = fit_models(
            table,
            [level.model(driver.id, driver, driver.controls) for driver in level.fitted],
            outcome=level.columns.outcome,
            controls=level.controls,
            require=PROGRAM_REQUIREMENTS,
            draws=1,
        )
        found, means = fits.table.to_dict("records"), level.outcome_means_of(table)
        rows = [_describe_row(level, driver, fit, means) for driver, fit in zip(level.fitted, found, strict=True)]
        tables.append(pd.DataFrame(rows).assign(program_key=program))
        drivers = fits.table.loc[fits.table["status"] == "estimated", "model"]
        families.append(Family(program, drivers.tolist(), fits.correlation))
    return _without_small_rests(level, level.main.tasks, concatenate(tables)), families


def _without_small_rests(level: Level, tasks: Sequence[Task], programs: pd.DataFrame) -> pd.DataFrame:
    """No count of a program without an answer; nor an answer where all others would leave a small rest."""
    few = programs["reason"].fillna("").str.startswith("too few rows")
    programs.loc[few, "reason"] = f"too few rows: fewer than {PROGRAM_REQUIREMENTS.rows:,} in the program's sample"
    programs["row_count"] = programs["row_count"].astype("float64").mask(few)
    for driver, task in zip(level.fitted, tasks, strict=True):
        counted = programs.loc[programs["driver_id"] == driver.id, "row_count"].dropna()
        if len(counted) and 0 < task.n - counted.sum() < level.minimum_group:
            described = ["driver_id", "program_key", "position", "level", "contrast_rule"]
            programs.loc[counted.idxmin(), programs.columns.difference(described)] = None
            programs.loc[counted.idxmin(), ["status", "reason"]] = ["not estimable", WITHHELD]
    return programs


def shrink(estimates: np.ndarray, std_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimates (k,) drawn to their mean by as much as chance explains their spread ([1], [2]).

    Returns:
        shrunken estimates (k,), their standard errors (k,), and the standard deviation between the true ones
    """
    from statsmodels.stats.meta_analysis import combine_effects

    if len(estimates) < 2:
        return estimates.copy(), std_errors.copy(), 0.0
    variances = np.square(std_errors)
    # Its tolerance is kept: a tighter one ends in rounding, and a search that oversteps is taken for no spread at all.
    combined = combine_effects(estimates, variances, method_re="pm")
    kept = combined.tau2 / (combined.tau2 + variances)
    errors = np.sqrt(kept * variances + (1 - kept) ** 2 * combined.var_eff_w_re)
    mean = combined.mean_effect_re
    return mean + kept * (estimates - mean), errors, float(np.sqrt(combined.tau2))


def shrunken(programs: pd.DataFrame) -> pd.DataFrame:
    """Rows by program with the program's percent, and a 95 % interval, drawn to the mean of all programs'."""
    from scipy.stats import norm

    for end in ("percent", "std_error", "percent_low", "percent_high"):
        programs[f"shrunken_{end}"] = np.nan
    programs["between_program_percent"] = np.nan
    for _, rows in programs[programs["status"] == "estimated"].groupby("driver_id"):
        values, errors, between = shrink(
            rows["percent"].to_numpy(dtype=np.float64), rows["percent_std_error"].to_numpy(dtype=np.float64)
        )
        programs.loc[rows.index, "shrunken_percent"] = values
        programs.loc[rows.index, "shrunken_std_error"] = errors
        programs.loc[rows.index, "shrunken_percent_low"] = values - norm.ppf(0.975) * errors
        programs.loc[rows.index, "shrunken_percent_high"] = values + norm.ppf(0.975) * errors
        programs.loc[rows.index, "between_program_percent"] = between
    return programs


def with_spread(effects: pd.DataFrame, programs: pd.DataFrame) -> pd.DataFrame:
    """The rows over all programs with how many programs have an estimate, and how far these truly differ."""
    within = programs[programs["status"] == "estimated"].groupby("driver_id")
    effects["program_count"] = effects["driver_id"].map(within.size())
    effects["between_program_percent"] = effects["driver_id"].map(within["between_program_percent"].first())
    return effects


def _by_key(batches: Batches, key: str) -> Iterator[tuple[str, pa.Table]]:
    """The rows of one key after the other, of a stream that is ordered by it."""
    held: list[pa.RecordBatch] = []
    current, seen = None, set()
    for batch in batches():
        codes = batch.column(key).dictionary_encode()
        names, codes = codes.dictionary.to_pylist(), codes.indices.to_numpy()
        bounds = np.flatnonzero(np.diff(codes, prepend=-1, append=-1))
        for a, b in pairwise(bounds):
            name = names[codes[a]]
            if name != current:
                if current is not None:
                    yield current, pa.Table.from_batches(held)
                if name in seen:
                    raise ValueError(f"The rows come back to {key} {name}: order the stream by {key}.")
                seen.add(name)
                current, held = name, []
            held.append(batch.slice(a, b - a))
    if current is not None:
        yield current, pa.Table.from_batches(held)
