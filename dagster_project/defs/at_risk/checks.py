"""What must hold of the scores and of the models behind them."""

from dataclasses import dataclass

import dagster as dg
import numpy as np
import pandas as pd

from dagster_project.stats.risk.drift import BLOCK_ABOVE, why_drifted
from dagster_project.stats.risk.metrics import auc_error
from dagster_project.stats.risk.models import SevenDayRule

CALIBRATION_ERROR = 0.10  # above what chance explains; cohorts of one university differ by less
CONTRIBUTION_GAP = 1e-10
AUC_LOSS = 0.05  # below what was foretold, beyond what chance explains in 19 cohorts of 20
ONE_SIDED = 1.645
MODELS = dg.AssetKey(["analytics", "at_risk_models"])
SCORES = dg.AssetKey(["analytics", "at_risk_scores"])

TRAINING_CHECKS = [
    dg.AssetCheckSpec(
        "at_risk_models_beat_the_rule",
        asset=MODELS,
        blocking=True,
        description="The champion ranks the last matured cohort better than the seven-day rule",
    ),
    dg.AssetCheckSpec(
        "at_risk_models_are_calibrated",
        asset=MODELS,
        blocking=True,
        description="Probabilities and frequencies of the last matured cohort agree",
    ),
    dg.AssetCheckSpec(
        "at_risk_models_do_not_look_ahead",
        asset=MODELS,
        blocking=True,
        description="Features from data that end on a day equal the features of that day from all data",
    ),
    dg.AssetCheckSpec(
        "at_risk_models_have_not_drifted",
        asset=MODELS,
        blocking=True,
        description="The last matured cohort looks like those before it in the same weeks, and ended as foretold",
    ),
]
SCORING_CHECKS = [
    dg.AssetCheckSpec(
        "at_risk_scores_hold_every_active_learner_once",
        asset=SCORES,
        blocking=True,
        description="No active learner is left out or scored twice",
    ),
    dg.AssetCheckSpec(
        "at_risk_scores_add_up",
        asset=SCORES,
        blocking=True,
        description="Contributions and base add up to the model's log-odds",
    ),
    dg.AssetCheckSpec(
        "at_risk_scores_have_not_drifted",
        asset=SCORES,
        blocking=True,
        description="Those who are scored look like those whom the model was trained on, in the same weeks of term",
    ),
]


@dataclass(frozen=True)
class Judgement:
    """What is known of the model that a training proposes, or of the champion where none was trained.

    Attributes
    ----------
    metrics : rows of at_risk_backtest of its last split; `is_champion` marks the model that is judged. Empty where no
        cohort could be predicted from earlier ones: such a model becomes champion unjudged, and is told to be
    leaks : features that know the future, by week (`recounted_leaks`); none where nothing was trained
    drift : drift table of the last split (`Backtest.drift`); none where nothing was trained
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
        found, reasons = _beyond(judgement.drift), [why_drifted(judgement.drift)]
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


def _beyond(drift: pd.DataFrame) -> dict[str, float]:
    worst = drift[drift["level"] == "block"]
    return dict(zip(worst["feature"], np.round(worst["psi"], 2).tolist(), strict=True))


CLAIMS = {
    "at_risk_models_beat_the_rule": _beats_the_rule,
    "at_risk_models_are_calibrated": _is_calibrated,
    "at_risk_models_do_not_look_ahead": _does_not_look_ahead,
    "at_risk_models_have_not_drifted": _has_not_drifted,
}


def of_training(judgements: dict[str, Judgement], without_champion: list[str]) -> list[dg.AssetCheckResult]:
    """The checks of the models, by subject.

    Args:
        without_champion: subjects whose model was refused and that have no former champion. Of them nobody can be
            scored, which blocks; where a former champion keeps scoring a refusal warns.
    """
    results = []
    for name, claim in CLAIMS.items():
        judged = {subject: claim(judgement) for subject, judgement in judgements.items()}
        broken = {subject: reason for subject, (_, reason) in judged.items() if reason}
        found = {subject: found for subject, (found, _) in judged.items() if found}
        told = [
            f"{subject}: {reason}. "
            + ("There is no former champion: nobody is scored" if subject in without_champion else "Champion stays")
            for subject, reason in broken.items()
        ]
        results.append(_result(name, MODELS, found, list(broken), without_champion, "; ".join(told)))
    return results


def every_learner_once(expected: dict[str, int], scores: pd.DataFrame) -> dg.AssetCheckResult:
    """``expected``: active learners by subject, counted in the marts by a query of its own."""
    found, broken = {}, []
    for subject, count in expected.items():
        source, outcome = subject.split("/")
        keys = scores.loc[(scores["source"] == source) & (scores["outcome"] == outcome), "enrollment_key"]
        found[subject] = {"active": count, "scored": len(keys), "different": int(keys.nunique())}
        if not count == len(keys) == keys.nunique():
            broken.append(subject)
    return _result("at_risk_scores_hold_every_active_learner_once", SCORES, found, broken, broken)


def adds_up(gaps: dict[str, float]) -> dg.AssetCheckResult:
    """``gaps``: largest distance between contributions plus base and log-odds, by subject."""
    broken = [subject for subject, gap in gaps.items() if not gap <= CONTRIBUTION_GAP]
    return _result("at_risk_scores_add_up", SCORES, {k: float(v) for k, v in gaps.items()}, broken, broken)


def has_not_drifted(drift: pd.DataFrame, trained: list[str]) -> dg.AssetCheckResult:
    """Score and features that matter: daily it warns and the champion stays; where the model is new it blocks."""
    found, broken = {"limit": BLOCK_ABOVE}, {}
    for (source, outcome), rows in drift.groupby(["source", "outcome"]) if len(drift) else []:
        found[f"{source}/{outcome}"] = _beyond(rows)
        if reason := why_drifted(rows):
            broken[f"{source}/{outcome}"] = reason
    told = "; ".join(f"{subject}: {reason}" for subject, reason in broken.items())
    return _result("at_risk_scores_have_not_drifted", SCORES, found, list(broken), trained, told)


def _result(
    name: str, key: dg.AssetKey, found: dict, broken: list[str], blocking: list[str], told: str = ""
) -> dg.AssetCheckResult:
    is_error = bool(set(broken).intersection(blocking))
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=told or None,
        metadata={"found": dg.MetadataValue.json(found), "broken": dg.MetadataValue.json(broken)},
    )
