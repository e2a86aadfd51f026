"""Effect by fifths of a driver, against the straight line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dagster_project.stats.double_lasso.task import Task
from dagster_project.stats.driver_effects.level import Driver, Level, concatenate, with_columns

if TYPE_CHECKING:
    import pandas as pd

BINS = 5
LOWEST_BIN = {"status": "estimated", "effect": 0.0, "conf_low": 0.0, "conf_high": 0.0}


def dose_response(level: Level) -> pd.DataFrame:
    """Effect by fifths of the driver, for drivers with at least `FEW_VALUES` values."""
    import pandas as pd

    if level.main is None:
        return pd.DataFrame()
    models, edges_of, more = [], {}, []
    for driver, task, selected in zip(level.fitted, level.main.tasks, level.main.table["selected"], strict=True):
        if task.reason or not driver.is_count_or_amount:
            continue
        edges = _edges(driver)
        if len(edges) < 2:
            continue
        edges_of[driver.id] = edges
        bins = [f"{driver.id} in bin {b}" for b in range(1, len(edges) + 1)]
        square = f"{driver.id} squared"
        more += [*bins, square]
        models += [
            level.model(f"{driver.id}|{b}", driver, keep=[*selected, *(x for x in bins if x != name)], column=name)
            for b, name in enumerate(bins, 1)
        ]
        models.append(level.model(f"{driver.id}|square", driver, keep=[*selected, driver.column], column=square))
    if not models:
        return pd.DataFrame()
    binned = [driver for driver in level.fitted if driver.id in edges_of]

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in level.rows():
            yield with_columns(batch, _bin_columns(batch, binned, edges_of))

    table = level.fit_again(models, level.columns.program, rows, more, std_error="cluster")
    fits = table.set_index("model").to_dict("index")
    task_of = dict(zip((driver.id for driver in level.fitted), level.main.tasks, strict=True))
    tables = [_dose_rows(level, driver, task_of[driver.id], edges_of[driver.id], fits) for driver in binned]
    return concatenate(tables)


def _dose_rows(
    level: Level, driver: Driver, task: Task, edges: np.ndarray, fits: dict[str, dict[str, Any]]
) -> pd.DataFrame:
    """Retention in each bin against the lowest one, and what the straight line says."""
    import pandas as pd

    alpha, mean_outcome = task.effect, level.outcome_means[driver.id]
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    curvature = fits[f"{driver.id}|square"]
    rows, shifts = [], 0.0
    for b in range(len(edges) + 1):
        inside = (driver.values >= bounds[b]) & (driver.values < bounds[b + 1])
        count = driver.counts[inside].sum()
        row = {
            "driver_id": driver.id,
            "bin": b + 1,
            "bin_low": driver.values[inside].min(),
            "bin_high": driver.values[inside].max(),
            "bin_mean": float(driver.values[inside] @ driver.counts[inside] / count),
            "row_count": int(count),
            "status": "estimated",
        }
        fit = fits.get(f"{driver.id}|{b}", LOWEST_BIN)
        row["status"] = fit["status"]
        row["reason"] = fit.get("reason")
        points = [100 * fit[name] for name in ("effect", "conf_low", "conf_high")]
        row["points"], row["points_low"], row["points_high"] = points
        row["linear_points"] = 100 * alpha * (row["bin_mean"] - (rows[0]["bin_mean"] if rows else row["bin_mean"]))
        row["curvature_p_value"] = curvature["p_value"]
        shifts += np.nan_to_num(fit["effect"]) * count
        rows.append(row)
    # mean prediction with everybody in the lowest bin, all else as it is
    base = mean_outcome - shifts / driver.counts.sum()
    for row in rows:
        row["retention"] = base + row["points"] / 100
        for end in ("", "_low", "_high"):
            row[f"percent{end}"] = row[f"points{end}"] / base
    return pd.DataFrame(rows)


def _edges(driver: Driver) -> np.ndarray:
    """Inner bounds of at most `BINS` bins with about as many rows; values equal to a bound belong above."""
    cuts = np.unique([driver.quantile(b / BINS) for b in range(1, BINS)])
    cuts = cuts[(cuts > driver.values[0]) & (cuts <= driver.values[-1])]
    ends = np.concatenate([[-np.inf], cuts, [np.inf]])
    filled = [
        cut for cut, low in zip(cuts, ends, strict=False) if ((driver.values >= low) & (driver.values < cut)).any()
    ]
    return np.array(filled)


def _bin_columns(
    batch: pa.RecordBatch, drivers: Iterable[Driver], edges_of: Mapping[str, np.ndarray]
) -> dict[str, pa.Array]:
    columns = {}
    for driver in drivers:
        values = batch.column(driver.column).cast(pa.float64()).to_numpy(zero_copy_only=False)
        known = np.isfinite(values)
        bins = np.searchsorted(edges_of[driver.id], values, side="right")
        for b in range(1, len(edges_of[driver.id]) + 1):
            columns[f"{driver.id} in bin {b}"] = pa.array((bins == b) & known)
        centre = driver.quantile(0.5)
        columns[f"{driver.id} squared"] = pa.array(np.where(known, np.square(values - centre), 0.0))
    return columns
