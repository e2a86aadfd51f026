"""The same effect with other controls, samples and absorbed effects."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.driver_effects.level import Driver, Level, concatenate
from dagster_project.stats.driver_effects.percent import metric

if TYPE_CHECKING:
    import pandas as pd


# The specification curve, from nothing to everything
SPECIFICATIONS = (
    "naive",
    "program only",
    "and student",
    "double lasso",
    "all eligible",
    "and doubtful controls",
    "course and term absorbed",
    "dropped courses too",
    "graduates too",
    "as printed",
)
OTHER_ROWS = ("graduates too", "as printed")
AS_PRINTED = {"open_completion": "has_open_completion_any"}  # columns with the report's words, not disjoint as ours are


def specifications(level: Level) -> pd.DataFrame:
    """The same effect with other controls, samples and absorbed effects."""
    import pandas as pd

    if level.main is None:
        return pd.DataFrame()
    selected = {d.id: list(s) for d, s in zip(level.fitted, level.main.table["selected"], strict=True)}
    usable = [d for d, task in zip(level.fitted, level.main.tasks, strict=True) if not task.reason]
    within, plain, course_term, graduates = [], [], [], []
    for driver in usable:
        plain.append(replace(level.model(f"{driver.id}|naive", driver), keep=()))
        within.append(replace(level.model(f"{driver.id}|program only", driver), keep=()))
        within.append(level.model(f"{driver.id}|and student", driver, keep=driver.student))
        within.append(level.model(f"{driver.id}|all eligible", driver, keep=driver.controls))
        chosen = selected[driver.id]
        if driver.sensitivity:
            kept = [c for c in chosen if c not in driver.replaced]
            wider = level.model(f"{driver.id}|and doubtful controls", driver, keep=[*kept, *driver.sensitivity])
            within.append(wider)
        if driver.sample_rule == "not dropped" and _is_everywhere(level, driver):
            model = level.model(f"{driver.id}|dropped courses too", driver, keep=chosen)
            within.append(replace(model, sample=None))
        if level.with_graduates is not None:
            graduates.append(level.model(f"{driver.id}|graduates too", driver, keep=chosen))
        printed = AS_PRINTED.get(driver.id)
        if printed in level.there:
            nested = [c for c in chosen if c not in driver.disjoint_open]  # which say less once they overlap
            within.append(level.model(f"{driver.id}|as printed", driver, keep=nested, column=printed))
        if driver.kind == "own":
            course_term.append(level.model(f"{driver.id}|course and term absorbed", driver, keep=chosen))
    keys = level.columns
    tables = [
        level.fit_again(plain, absorb=None),
        level.fit_again(within, absorb=keys.program),
        level.fit_again(course_term, absorb="course_term"),
        level.fit_again(graduates, absorb=keys.program, rows=partial(level.rows, level.with_graduates)),
        level.main.table.assign(model=level.main.table["model"] + "|double lasso"),
    ]
    by_id = {driver.id: driver for driver in level.drivers}
    main_means = level.main.table.set_index("model")["driver_mean"]
    rows = []
    for fit in concatenate(tables).to_dict("records"):
        driver_id, specification = fit["model"].split("|")
        sample = None if specification == "dropped courses too" else driver_id
        # samples that few rows tell apart have one mean of the driver, too; of graduates everybody knows the outcome
        is_main = level.told_by[sample] == level.told_by[driver_id] and specification not in OTHER_ROWS
        row = {
            "driver_id": driver_id,
            "specification": specification,
            "position": SPECIFICATIONS.index(specification) + 1,
            "status": fit["status"],
            "reason": fit["reason"],
            "row_count": fit["n"],
            "control_count": len(fit["selected"]),
            "outcome_mean": _told_mean(level, fit, specification, sample),
            "driver_mean": main_means[driver_id] if is_main else fit["driver_mean"],
            "contrast_low": by_id[driver_id].low,
            "contrast_high": by_id[driver_id].high,
        }
        if fit["status"] == "estimated":
            row |= {name: fit[name] for name in ("effect", "std_error", "p_value")}
            row |= metric(row, fit["conf_low"], fit["conf_high"])
        rows.append(row)
    order = {driver.id: driver.position for driver in level.drivers}
    return pd.DataFrame(rows).sort_values(
        ["driver_id", "position"], key=lambda c: c.map(order) if c.name == "driver_id" else c, ignore_index=True
    )


def _told_mean(level: Level, fit: dict[str, Any], specification: str, sample: str | None) -> float:
    """Mean of the outcome to publish; missing where the rows are too few for a fit."""
    if specification == "graduates too" or not np.isfinite(fit["outcome_mean"]):
        return fit["outcome_mean"]
    return level.outcome_means[sample]


def _is_everywhere(level: Level, driver: Driver) -> bool:
    """Whether the driver has a value in every row, dropped ones too."""
    return all(not batch.column(driver.column).null_count for batch in level.batches())


def with_course_term(effects: pd.DataFrame, specifications: pd.DataFrame) -> pd.DataFrame:
    """Own drivers beside their figure with course × term absorbed."""
    if not len(specifications):
        return effects
    rows = specifications[specifications["specification"] == "course and term absorbed"].set_index("driver_id")
    rows = rows.reindex(columns=["percent", "percent_low", "percent_high"])  # absent if none could be estimated
    for name in rows.columns:
        effects[f"course_term_{name}"] = effects["driver_id"].map(rows[name])
    return effects
