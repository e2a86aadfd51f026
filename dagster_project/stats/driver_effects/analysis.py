"""By how much does retention change with each driver? Every driver of a catalogue, over all programs and in each.

The calculation is that of the retention report, with what it leaves out: intervals, the controls that were used, what
an unseen confounder would have to be, and other ways of asking that should give the same answer. Rows come streamed;
nothing here knows where from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.double_lasso import inference
from dagster_project.stats.double_lasso.design import Batches
from dagster_project.stats.driver_effects.dose_response import dose_response
from dagster_project.stats.driver_effects.effects import (
    Family,
    effects_by_program,
    effects_over_all,
    shrunken,
    with_spread,
)
from dagster_project.stats.driver_effects.falsification import placebos
from dagster_project.stats.driver_effects.level import Columns, Level, concatenate
from dagster_project.stats.driver_effects.percent import finding
from dagster_project.stats.driver_effects.placebos import DRAWS
from dagster_project.stats.driver_effects.specifications import specifications, with_course_term
from dagster_project.stats.one_thread import one_thread_for_algebra
from dagster_project.stats.suppression import MINIMUM

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("learner_program", "learner_course")
TIMES = ("before_start", "start", "design", "first_deadline", "midpoint", "end")
PROGRAM_DRAWS = 1999  # of the family of all drivers in all programs
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
    with_graduates: Mapping[str, Batches | None] | None = None,
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
        with_graduates: for each level the same rows, and those of graduates as retained; None: no graduate is known
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
    with one_thread_for_algebra():
        return _analyse(
            batches,
            catalogue,
            groups,
            eligibility,
            columns or Columns(),
            with_graduates or {},
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
    with_graduates: Mapping[str, Batches | None],
    reasons: Mapping[str, str],
    placebo_draws: int,
    by_program: bool,
    minimum_group: int,
    seed: int,
) -> DriverResults:
    import pandas as pd

    levels = [
        Level(
            level,
            batches.get(level),
            catalogue,
            groups,
            eligibility,
            columns,
            seed,
            reasons.get(level),
            minimum_group,
            with_graduates.get(level),
        )
        for level in LEVELS
    ]
    for level in levels:
        level.fit()
    effects = pd.concat([effects_over_all(level) for level in levels], ignore_index=True)
    overall = [
        Family(None, estimated["model"].tolist(), level.main.correlation)
        for level in levels
        if level.main is not None
        for estimated in (level.main.table[level.main.table["status"] == "estimated"],)
    ]
    # one draw of all drivers; those of two levels share no clusters: 0 is the cautious choice
    effects = _adjust_together(effects, [_joined(overall)], 9999, seed)
    others = concatenate([specifications(level) for level in levels])
    effects = with_course_term(effects, others)
    if by_program:
        parts = [effects_by_program(level) for level in levels]
        programs = concatenate([table for table, _ in parts])
        if len(programs):
            families = [family for _, families in parts for family in families]
            programs = _adjust_together(shrunken(programs), families, PROGRAM_DRAWS, seed)
            effects = concatenate([with_spread(effects, programs), programs])
    return DriverResults(
        effects=effects.sort_values("position", kind="stable", ignore_index=True),
        specifications=others,
        dose_response=concatenate([dose_response(level) for level in levels]),
        placebos=concatenate([placebos(level, placebo_draws) for level in levels]),
    )


def _joined(families: Sequence[Family]) -> Family:
    from scipy.linalg import block_diag

    correlation = block_diag(*(family.correlation for family in families)) if families else np.zeros((0, 0))
    return Family(None, [driver for family in families for driver in family.drivers], correlation)


def _adjust_together(rows: pd.DataFrame, families: Sequence[Family], draws: int, seed: int) -> pd.DataFrame:
    """Rows with p-values that hold for all of them together, and what by these is shown, a hint, or not shown."""
    rows = rows.assign(q_value=np.nan, romano_wolf_p=np.nan, finding=None)
    programs = [program if isinstance(program, str) else None for program in rows["program_key"]]
    keys = zip(rows["driver_id"], programs, strict=True)
    index_of = {
        key: i for key, i, status in zip(keys, rows.index, rows["status"], strict=True) if status == "estimated"
    }
    if not index_of:
        return rows
    order, correlations = [], []
    for family in families:
        # a row may have been withheld since it was estimated
        there = [(driver, family.program) in index_of for driver in family.drivers]
        order += [
            index_of[driver, family.program] for driver, is_there in zip(family.drivers, there, strict=True) if is_there
        ]
        correlations.append(family.correlation[np.ix_(there, there)])
    p_values = rows.loc[order, "p_value"].to_numpy(dtype=np.float64)
    degrees = rows.loc[order, "degrees_of_freedom"].to_numpy(dtype=np.float64)
    rows.loc[order, "q_value"] = inference.benjamini_hochberg(p_values)
    rows.loc[order, "romano_wolf_p"] = inference.romano_wolf(p_values, degrees, correlations, draws=draws, seed=seed)
    ends = ["romano_wolf_p", "percent_low", "percent_high"]
    rows.loc[order, "finding"] = [finding(*values) for values in rows.loc[order, ends].itertuples(index=False)]
    return rows
