"""What must hold of a model that a training proposes, before it becomes champion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.risk.backtest import last_split
from dagster_project.stats.risk.calibration import CALIBRATED_FROM_WEEK, aim_of
from dagster_project.stats.risk.drift import why_drifted
from dagster_project.stats.risk.metrics import auc_error
from dagster_project.stats.risk.models import SevenDayRule

if TYPE_CHECKING:
    import pandas as pd


SLOPES = (0.67, 1.5)
HELD_GROUPS, HELD_GROUPS_AIM = 0.85, 0.90  # groups of learners whose interval holds what came
LIFT, PRECISION = 2.0, 0.75  # of the called tenth: twice the base rate, or three in four
AUC_LOSS = 0.05  # below what was foretold, beyond what chance explains in 19 cohorts of 20
ONE_SIDED = 1.645


@dataclass(frozen=True)
class Judgement:
    """What is known of the model that a training proposes, or of the champion where none was trained.

    Attributes:
        metrics: rows of at_risk_backtest of all its splits; `is_champion` marks the model that is judged. Empty where
            no cohort could be predicted from earlier ones: such a model becomes champion unjudged, and is told to be
        leaks: features that know the future, by week (`recounted_leaks`); none where nothing was trained
        drift: drift table of the last split (`Backtest.drift`); none where nothing was trained
    """

    metrics: pd.DataFrame
    leaks: dict[int, list[str]] | None = None
    drift: pd.DataFrame | None = None

    @property
    def refusals(self) -> dict[str, str]:
        """What it fails, in words, by check; a model that fails anything does not become champion."""
        found = {name: claim(self)[1] for name, claim in CLAIMS.items()}
        return {name: reason for name, reason in found.items() if reason}


def _beats_the_rule(judgement: Judgement) -> tuple[dict, str | None]:
    """Mean AUC over the weeks of the last split."""
    rows = last_split(judgement.metrics)
    if rows.empty:
        return {}, None
    champion = rows.loc[rows["is_champion"], "auc"].mean()
    rule = rows.loc[rows["model"] == SevenDayRule.kind, "auc"].mean()
    found = {"champion": round(float(champion), 4), "rule": round(float(rule), 4)}
    is_broken = bool(np.isfinite(rule) and not champion > rule)
    return found, f"AUC {champion:.3f} against {rule:.3f} of the seven-day rule" if is_broken else None


def _of_champion(judgement: Judgement) -> dict[str, pd.DataFrame]:
    """Its rows by split, oldest first."""
    rows = judgement.metrics
    return dict(iter(rows[rows["is_champion"]].groupby("split"))) if len(rows) else {}


def _is_calibrated(judgement: Judgement) -> tuple[dict, str | None]:
    """Of every split from week 6 on: calibration error beyond chance and slope, means over weeks by learners.

    How high a new cohort's level is nobody knows beforehand: its interval says so, and `_holds_its_intervals` asks
    whether it said enough. Here the shape is judged, and by how much the level was missed is told.
    """
    found, reasons = {}, []
    for split, rows in _of_champion(judgement).items():
        rows = rows[rows["week_number"] >= CALIBRATED_FROM_WEEK]
        if rows.empty:
            continue
        mean = {
            name: float(np.average(rows[name], weights=rows["n"]))
            for name in rows
            if name.startswith("calibration_error")
        }
        by_chance = mean["calibration_error_by_chance"]
        aim = aim_of(int(rows["earlier_cohorts"].iloc[0]))
        told = rows[rows["calibration_slope"].notna()]
        slope = float(np.average(told["calibration_slope"], weights=told["n"])) if len(told) else np.nan
        # The weeks' learners are the same: the mean over weeks is no surer than a week.
        margin = 2 * told["calibration_slope_error"].mean()
        found[split] = {
            "n": int(rows["n"].max()),
            "error": round(mean["calibration_error"], 4),
            "error at the level that came": round(mean["calibration_error_levelled"], 4),
            "by chance": round(by_chance, 4),
            "aim beyond chance": aim,
            "is reached": bool(mean["calibration_error"] - by_chance <= aim),
            "slope": round(slope, 2),
        }
        error = mean["calibration_error_levelled"]
        if not error - by_chance <= max(aim, mean["calibration_error_most_by_chance"] - by_chance):
            reasons.append(f"{split}: calibration error {error:.3f}, {by_chance:.3f} of it by chance, limit {aim}")
        if slope + margin < SLOPES[0] or slope - margin > SLOPES[1]:
            reasons.append(f"{split}: slope {slope:.2f}, 1 is right")
    return found, "; ".join(reasons) or None


def _holds_its_intervals(judgement: Judgement) -> tuple[dict, str | None]:
    """Of every split: in how many groups of similar learners the interval holds what came."""
    found, reasons = {}, []
    for split, rows in _of_champion(judgement).items():
        groups, held = int(rows["groups"].sum()), int(rows["groups_in_interval"].sum())
        if not groups:
            continue
        share = held / groups
        found[split] = {"groups": groups, "held": round(share, 3), "aim": HELD_GROUPS_AIM}
        # Groups of one split see the same learners week after week: fewer than as many weeks tell little.
        if share < HELD_GROUPS and groups >= 2 * len(rows):
            reasons.append(f"{split}: intervals hold in {share:.0%} of {groups} groups, {HELD_GROUPS:.0%} at the least")
    return found, "; ".join(reasons) or None


def _is_worth_calling(judgement: Judgement) -> tuple[dict, str | None]:
    """Of every split: how much more often the called tenth leaves or fails than all do, mean over weeks."""
    found, reasons = {}, []
    for split, rows in _of_champion(judgement).items():
        rows = rows[rows["n_called"].notna() & (rows["base_rate"] > 0)]
        if rows.empty:
            continue
        lift, base = rows["called_lift"].mean(), rows["base_rate"].mean()
        precision, called = rows["called_precision"].mean(), rows["n_called"].mean()
        wanted = min(LIFT, PRECISION / base)
        margin = ONE_SIDED * np.sqrt(precision * (1 - precision) / called) / base
        found[split] = {"lift": round(float(lift), 2), "wanted": round(float(wanted), 2)}
        if lift + margin < wanted:
            reasons.append(f"{split}: of the called tenth {lift:.2f} times as many as of all, {wanted:.2f} are wanted")
    return found, "; ".join(reasons) or None


def _does_not_look_ahead(judgement: Judgement) -> tuple[dict, str | None]:
    leaks = judgement.leaks or {}
    names = sorted({name for columns in leaks.values() for name in columns})
    found = {f"week {week}": columns for week, columns in leaks.items()}
    return found, f"features know the future: {', '.join(names)}" if names else None


def _has_not_drifted(judgement: Judgement) -> tuple[dict, str | None]:
    """Features and score of the cohort, and whether its outcomes could be told apart as well as was foretold."""
    found, reasons = {}, []
    if judgement.drift is not None:
        found, reasons = beyond_limit(judgement.drift), [why_drifted(judgement.drift)]
    if "auc_foretold" in judgement.metrics:
        rows = last_split(judgement.metrics)
        rows = rows[rows["is_champion"]]
        auc, foretold = rows["auc"].mean(), rows["auc_foretold"].mean()
        # The weeks' learners are the same: the mean over weeks is no surer than a week.
        positives = rows["n_positive"].mean()
        error = auc_error(auc, positives, rows["n"].mean() - positives)
        found |= {"auc": round(float(auc), 4), "auc foretold": round(float(foretold), 4)}
        if foretold - auc > AUC_LOSS + ONE_SIDED * error:
            reasons.append(f"outcomes came by other rules: AUC {auc:.3f}, {foretold:.3f} was foretold")
    return found, "; ".join(reason for reason in reasons if reason) or None


def beyond_limit(drift: pd.DataFrame) -> dict[str, float]:
    """Features that drifted too far to be believed, with their stability index, two decimals."""
    worst = drift[drift["level"] == "block"]
    return dict(zip(worst["feature"], np.round(worst["psi"], 2).tolist(), strict=True))


CLAIMS = {
    "at_risk_models_beat_the_rule": _beats_the_rule,
    "at_risk_models_are_calibrated": _is_calibrated,
    "at_risk_intervals_hold": _holds_its_intervals,
    "at_risk_calls_are_worth_it": _is_worth_calling,
    "at_risk_models_do_not_look_ahead": _does_not_look_ahead,
    "at_risk_models_have_not_drifted": _has_not_drifted,
}
