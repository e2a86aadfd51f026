"""What must hold of a model that a training proposes, before it becomes champion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.risk.drift import why_drifted
from dagster_project.stats.risk.metrics import auc_error
from dagster_project.stats.risk.models import SevenDayRule

if TYPE_CHECKING:
    import pandas as pd


CALIBRATION_ERROR = 0.10  # above what chance explains; cohorts of one university differ by less
AUC_LOSS = 0.05  # below what was foretold, beyond what chance explains in 19 cohorts of 20
ONE_SIDED = 1.645


@dataclass(frozen=True)
class Judgement:
    """What is known of the model that a training proposes, or of the champion where none was trained.

    Attributes:
        metrics: rows of at_risk_backtest of its last split; `is_champion` marks the model that is judged. Empty where
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
    rows = judgement.metrics
    if rows.empty:
        return {}, None
    champion = rows.loc[rows["is_champion"], "auc"].mean()
    rule = rows.loc[rows["model"] == SevenDayRule.kind, "auc"].mean()
    found = {"champion": round(float(champion), 4), "rule": round(float(rule), 4)}
    is_broken = bool(np.isfinite(rule) and not champion > rule)
    return found, f"AUC {champion:.3f} against {rule:.3f} of the seven-day rule" if is_broken else None


def _is_calibrated(judgement: Judgement) -> tuple[dict, str | None]:
    """Calibration error of the last split, mean over weeks, less what chance explains."""
    if judgement.metrics.empty:
        return {}, None
    rows = judgement.metrics[judgement.metrics["is_champion"]]
    error, by_chance = rows["calibration_error"].mean(), rows["calibration_error_by_chance"].mean()
    found = {"error": round(float(error), 4), "by chance": round(float(by_chance), 4)}
    is_broken = not error - by_chance <= CALIBRATION_ERROR
    return found, f"calibration error {error:.3f}, {by_chance:.3f} of it by chance" if is_broken else None


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
        rows = judgement.metrics[judgement.metrics["is_champion"]]
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
    "at_risk_models_do_not_look_ahead": _does_not_look_ahead,
    "at_risk_models_have_not_drifted": _has_not_drifted,
}
