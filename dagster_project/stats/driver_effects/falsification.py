"""What must not be found: effects of reassigned drivers, of noise, and on an outcome that came before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.double_lasso.fits import Fits, fit_models
from dagster_project.stats.double_lasso.task import Task
from dagster_project.stats.driver_effects.level import Driver, Level, concatenate
from dagster_project.stats.driver_effects.placebos import Draws, swap_clusters, swap_learners

if TYPE_CHECKING:
    import pandas as pd

NEGATIVE_OUTCOME = "age_years"  # fixed before every driver
PLACEBO_BOUNDS = (0.01, 0.10)  # share of rejections at 5 % over all draws of one kind of driver


def placebos(level: Level, draws: int) -> pd.DataFrame:
    """Block reassignments, noise, and an outcome that was fixed before the drivers."""
    import pandas as pd

    if level.main is None or not draws:
        return pd.DataFrame()
    tasks, rows = level.main.tasks, []
    usable = [i for i, task in enumerate(tasks) if not task.reason]
    # whole clusters swap what is the same for all of a cluster: designs, and what a term has
    courses = [i for i in usable if tasks[i].kind == "jackknife" and _is_of_clusters(level, level.main, i)]
    learners = [i for i in usable if level.fitted[i].kind in ("program", "own") and i not in courses]
    unit = "learner" if level.name == "learner_course" else None
    swaps: dict[str, Any] = {"stratum": "program_term", "unit": unit, "draws": draws}
    found = swap_clusters(level.main, courses, draws=draws, seed=level.seed)
    if learners:
        found |= swap_learners(level.main, learners, seed=level.seed, **swaps)
    for i, result in sorted(found.items()):
        rows.append(_placebo_row(level.fitted[i], "reassigned in blocks", result))
    if courses:
        noise = swap_clusters(level.main, courses[:1], draws=draws, seed=level.seed + 1, noise=True)[courses[0]]
        block = "course" if level.name == "learner_course" else "first term"
        rows.append(_placebo_row(level.fitted[courses[0]], f"noise by {block}", noise))
    if learners:
        noise = swap_learners(level.main, learners[:1], seed=level.seed + 1, noise=True, **swaps)[learners[0]]
        rows.append(_placebo_row(level.fitted[learners[0]], "noise by learner", noise))
    return concatenate([pd.DataFrame(rows), _earlier_outcome(level, tasks)])


def _is_of_clusters(level: Level, fits: Fits, position: int) -> bool:
    task = fits.tasks[position]
    if level.fitted[position].kind != "program":
        return level.fitted[position].kind != "own"
    grams = fits.grams[task.sample, task.dims[0]]
    return bool(grams.fixed_within_clusters()[grams.columns == task.driver].all())


def _earlier_outcome(level: Level, tasks: Sequence[Task]) -> pd.DataFrame:
    """The same models for an outcome that no driver can have changed: what is left is confounding."""
    import pandas as pd

    if NEGATIVE_OUTCOME not in level.there:
        return pd.DataFrame()
    # an absent value would be an absent outcome
    missing = sum(batch.column(NEGATIVE_OUTCOME).null_count for batch in level.batches())
    if missing:
        return pd.DataFrame()
    controls = [c for c in level.controls if c != NEGATIVE_OUTCOME]
    models = [
        level.model(d.id, d, [c for c in d.controls if c != NEGATIVE_OUTCOME])
        for d, task in zip(level.fitted, tasks, strict=True)
        if not task.reason
    ]
    if not models:
        return pd.DataFrame()
    fits = fit_models(
        level.rows,
        models,
        outcome=NEGATIVE_OUTCOME,
        controls=controls,
        absorb=level.columns.program,
        std_error="cluster",
        draws=1,
    )
    by_id = {driver.id: driver for driver in level.drivers}
    rows = []
    for fit in fits.table.to_dict("records"):
        driver = by_id[fit["model"]]
        rows.append(
            {
                "driver_id": driver.id,
                "kind": driver.kind,
                "placebo": "earlier outcome",
                "outcome": NEGATIVE_OUTCOME,
                "draw_count": 1,
                "rejected_count": int(fit["p_value"] < 0.05),
                "p_value": fit["p_value"],
                "outcome_change": fit["effect"] * (driver.high - driver.low),
            }
        )
    return pd.DataFrame(rows)


def _placebo_row(driver: Driver, placebo: str, draws: Draws) -> dict[str, Any]:
    return {
        "driver_id": driver.id if placebo == "reassigned in blocks" else None,
        "kind": driver.kind,
        "placebo": placebo,
        "outcome": "is_retained",
        "draw_count": len(draws.p_values),
        "rejected_count": int((draws.p_values < 0.05).sum()),
        "spread_over_std_error": float(np.std(draws.effects) / np.sqrt(np.mean(np.square(draws.std_errors)))),
    }


def placebo_errors(placebos: pd.DataFrame, bounds: tuple[float, float] = PLACEBO_BOUNDS) -> list[str]:
    """Kinds of drivers whose reassigned or noise placebos are rejected too often, or hardly ever.

    The share is taken over all placebos of a kind, whose errors are computed alike: of 200 draws alone, 5 % come out
    below 1 % or above 10 % by chance too often for a check that stops a publication.
    """
    errors = []
    for kind, rows in placebos[placebos["placebo"] != "earlier outcome"].groupby("kind"):
        draws = int(rows["draw_count"].sum())
        share = rows["rejected_count"].sum() / draws
        if not bounds[0] <= share <= bounds[1]:
            errors.append(f"{kind}: {100 * share:.1f} % of {draws:,} placebos rejected at the 5 % level")
    return errors
