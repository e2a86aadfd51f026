"""By how much does retention change with each driver? Every driver of a catalogue, over all programs and in each.

The calculation is that of the retention report, with what it leaves out: intervals, the controls that were used, what
an unseen confounder would have to be, and other ways of asking that should give the same answer. Rows come streamed;
nothing here knows where from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.double_lasso.fits import Fits
from dagster_project.stats.driver_effects.dose_response import dose_response
from dagster_project.stats.driver_effects.effects import effects_by_program, effects_over_all, shrunken, with_spread
from dagster_project.stats.driver_effects.falsification import placebos
from dagster_project.stats.driver_effects.level import Columns, Level, concatenate
from dagster_project.stats.driver_effects.placebos import DRAWS
from dagster_project.stats.driver_effects.specifications import specifications, with_course_term
from dagster_project.stats.suppression import MINIMUM

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("learner_program", "learner_course")
TIMES = ("before_start", "start", "design", "first_deadline", "midpoint", "end")
FORBIDDEN = ("after", "part_of_driver", "zero_sum")  # reasons for which a control may not be eligible


@dataclass(frozen=True)
class DriverResults:
    """Tables; their columns are described in dbt/models/analytics/_analytics__sources.yml."""

    effects: pd.DataFrame
    specifications: pd.DataFrame
    dose_response: pd.DataFrame
    placebos: pd.DataFrame


def eligibility_errors(catalogue: pd.DataFrame, groups: pd.DataFrame, eligibility: pd.DataFrame) -> list[str]:
    """What is wrong with the three seeds: a control downstream of its driver, a pair without a row.

    Args:
        catalogue, groups, eligibility: the seeds driver_catalogue, driver_control_groups, driver_control_eligibility
    """
    errors = []
    pairs = {(row["driver_group"], row["control_group"]): row for row in eligibility.to_dict("records")}
    latest = groups.groupby("control_group")["known_at"].agg(lambda times: max(times, key=TIMES.index))
    for driver_group in catalogue["driver_group"].unique():
        known_at = min(catalogue.loc[catalogue["driver_group"] == driver_group, "known_at"], key=TIMES.index)
        for control_group, time in latest.items():
            row = pairs.get((driver_group, control_group))
            if row is None:
                errors.append(f"{driver_group} × {control_group} has no row")
            elif row["eligible"] == "yes" and row["reason"] in FORBIDDEN:
                errors.append(f"{driver_group} × {control_group} is eligible, yet {row['reason']}")
            elif row["eligible"] == "yes" and TIMES.index(time) > TIMES.index(known_at):
                errors.append(
                    f"{driver_group} × {control_group} is eligible, yet settled at {time}, later than the driver: "
                    f"{known_at}"
                )
    return errors


def driver_effects(
    batches: Mapping[str, Batches | None],
    *,
    catalogue: pd.DataFrame,
    groups: pd.DataFrame,
    eligibility: pd.DataFrame,
    columns: Columns | None = None,
    reasons: Mapping[str, str] | None = None,
    placebo_draws: int = DRAWS,
    by_program: bool = True,
    minimum_group: int = MINIMUM,
    seed: int = 0,
) -> DriverResults:
    """Effects of all drivers of a catalogue, and what stands beside them.

    Args:
        batches: for each level, "learner_program" and "learner_course", a function without arguments that returns an
            iterator of record batches: analysis rows with a known outcome, ordered by program and, within, by learner.
            The same rows in the same order at every call. None: the level has no rows.
        catalogue, groups, eligibility: the seeds driver_catalogue, driver_control_groups, driver_control_eligibility
        columns: names of the keys, of the outcome and of "dropped"
        reasons: for a level without rows, why; otherwise "there are no rows"
        placebo_draws: of each kind of placebo; 0: none
        by_program: also estimate within each program
        minimum_group: fewest rows that a figure may be about: drivers whose samples differ by fewer share the mean of
            the outcome, and a program without which so few rows would be left over is not told
        seed: of placebos, Romano-Wolf and the wild bootstrap

    Returns:
        `DriverResults`. Its effects have a row for every driver of the catalogue, and one for each driver and program:
        what cannot be estimated has status "not estimable" and the reason.
    """
    with threadpool_limits(1, user_api="blas"):  # small matrices: a second thread only waits, at the price of a core
        return _analyse(
            batches,
            catalogue,
            groups,
            eligibility,
            columns or Columns(),
            reasons or {},
            placebo_draws,
            by_program,
            minimum_group,
            seed,
        )


def _analyse(
    batches: Mapping[str, Batches | None],
    catalogue: pd.DataFrame,
    groups: pd.DataFrame,
    eligibility: pd.DataFrame,
    columns: Columns,
    reasons: Mapping[str, str],
    placebo_draws: int,
    by_program: bool,
    minimum_group: int,
    seed: int,
) -> DriverResults:
    import pandas as pd

    levels = [
        Level(
            level, batches.get(level), catalogue, groups, eligibility, columns, seed, reasons.get(level), minimum_group
        )
        for level in LEVELS
    ]
    for level in levels:
        level.fit()
    effects = pd.concat([effects_over_all(level) for level in levels], ignore_index=True)
    _adjust_together(effects, [level.main for level in levels if level.main is not None], seed)
    others = concatenate([specifications(level) for level in levels])
    effects = with_course_term(effects, others)
    if by_program:
        programs = concatenate([effects_by_program(level) for level in levels])
        if len(programs):
            programs = shrunken(programs)
            effects = concatenate([with_spread(effects, programs), programs])
    return DriverResults(
        effects=effects.sort_values("position", kind="stable", ignore_index=True),
        specifications=others,
        dose_response=concatenate([dose_response(level) for level in levels]),
        placebos=concatenate([placebos(level, placebo_draws) for level in levels]),
    )


def _adjust_together(effects: pd.DataFrame, fits: list[Fits], seed: int) -> None:
    """Benjamini-Hochberg and Romano-Wolf over the drivers of both levels, which are one family."""
    for name in ("q_value", "romano_wolf_p"):
        effects[name] = np.nan
    estimated = np.flatnonzero(effects["status"] == "estimated")
    if not len(estimated):
        return
    p_values = effects.loc[estimated, "p_value"].to_numpy(dtype=np.float64)
    correlation = np.eye(len(estimated))
    start = 0
    for fit in fits:
        # drivers of two levels share no clusters: 0 is the cautious choice
        end = start + len(fit.correlation)
        correlation[start:end, start:end] = fit.correlation
        start = end
    degrees = effects.loc[estimated, "degrees_of_freedom"].to_numpy(dtype=np.float64)
    effects.loc[estimated, "q_value"] = inference.benjamini_hochberg(p_values)
    effects.loc[estimated, "romano_wolf_p"] = inference.romano_wolf(
        p_values, degrees, correlation, draws=9999, seed=seed
    )
