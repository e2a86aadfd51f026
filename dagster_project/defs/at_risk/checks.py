"""What must hold of the scores and of the models behind them."""

import dagster as dg
import numpy as np
import pandas as pd

from dagster_project.stats.drift import BLOCK_ABOVE

CALIBRATION_ERROR = 0.10  # above what chance explains; cohorts of one university differ by less
CONTRIBUTION_GAP = 1e-10
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


def beats_the_rule(backtest: pd.DataFrame, trained: list[str]) -> dg.AssetCheckResult:
    """Mean AUC over the weeks of the last split; blocking for what was trained in this run."""
    found, broken = {}, []
    for subject, rows in _last_splits(backtest):
        champion = rows.loc[rows["is_champion"], "auc"].mean()
        rule = rows.loc[rows["model"] == "seven_day_rule", "auc"].mean()
        found[subject] = {"champion": round(float(champion), 4), "rule": round(float(rule), 4)}
        if champion <= rule:
            broken.append(subject)
    return _result("at_risk_models_beat_the_rule", MODELS, found, broken, trained)


def is_calibrated(backtest: pd.DataFrame, trained: list[str]) -> dg.AssetCheckResult:
    """Calibration error of the last split, mean over weeks, less what chance explains."""
    found, broken = {}, []
    for subject, rows in _last_splits(backtest[backtest["is_champion"]] if len(backtest) else backtest):
        error, by_chance = rows["calibration_error"].mean(), rows["calibration_error_by_chance"].mean()
        found[subject] = {"error": round(float(error), 4), "by chance": round(float(by_chance), 4)}
        if error - by_chance > CALIBRATION_ERROR:
            broken.append(subject)
    return _result("at_risk_models_are_calibrated", MODELS, found, broken, trained)


def does_not_look_ahead(leaks: dict[str, list[str]]) -> dg.AssetCheckResult:
    """``leaks``: features that changed when later data were taken away, by what was recounted."""
    broken = [name for name, columns in leaks.items() if columns]
    return _result("at_risk_models_do_not_look_ahead", MODELS, leaks, broken, broken)


def every_learner_once(expected: dict[str, int], scores: pd.DataFrame) -> dg.AssetCheckResult:
    """``expected``: active learners by subject, counted in the mart."""
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
    """The scores' own drift counts: daily it warns and the champion stays; where the model is new it blocks."""
    found, broken = {}, []
    for (source, outcome), rows in drift.groupby(["source", "outcome"]) if len(drift) else []:
        worst = rows[rows["level"] == "block"]
        found[f"{source}/{outcome}"] = dict(zip(worst["feature"], np.round(worst["psi"], 2).tolist(), strict=True))
        if (worst["feature"] == "score").any():
            broken.append(f"{source}/{outcome}")
    found["limit"] = BLOCK_ABOVE
    return _result("at_risk_scores_have_not_drifted", SCORES, found, broken, trained)


def _last_splits(backtest: pd.DataFrame):
    if not len(backtest):
        return
    for (source, outcome), rows in backtest.groupby(["source", "outcome"]):
        yield f"{source}/{outcome}", rows[rows["split"] == rows["split"].max()]


def _result(name: str, key: dg.AssetKey, found: dict, broken: list[str], blocking: list[str]) -> dg.AssetCheckResult:
    is_error = bool(set(broken).intersection(blocking))
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not broken,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        metadata={"found": dg.MetadataValue.json(found), "broken": dg.MetadataValue.json(broken)},
    )
