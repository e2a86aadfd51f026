"""What must hold of the scores and of the models behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.analyses.at_risk.judgement import CLAIMS, Judgement, beyond_limit
from dagster_project.stats.risk.drift import BLOCK_ABOVE, why_drifted

if TYPE_CHECKING:
    import pandas as pd


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
        description="From week 6 on, probabilities and frequencies of every tested cohort agree, and so does the slope",
    ),
    dg.AssetCheckSpec(
        "at_risk_intervals_hold",
        asset=MODELS,
        blocking=True,
        description="In groups of learners with similar scores the interval holds the share that came, in every cohort",
    ),
    dg.AssetCheckSpec(
        "at_risk_calls_are_worth_it",
        asset=MODELS,
        blocking=True,
        description="Of the tenth that is called, twice as many leave or fail as of all, or three in four",
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
    found: dict[str, float | dict[str, float]] = {"limit": BLOCK_ABOVE}
    broken = {}
    for _, rows in drift.groupby(["source", "outcome"]) if len(drift) else []:
        subject = f"{rows['source'].iloc[0]}/{rows['outcome'].iloc[0]}"
        found[subject] = beyond_limit(rows)
        if reason := why_drifted(rows):
            broken[subject] = reason
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
