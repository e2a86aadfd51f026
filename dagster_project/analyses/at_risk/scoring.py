"""Scores of the active learners: rows of the last weeks, probabilities, reasons and drift."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.analyses.at_risk.registry import champion_of, load_scorer, pinned_version
from dagster_project.analyses.at_risk.subjects import COLUMNS, SUBJECTS, Subject
from dagster_project.analyses.at_risk.training import sources_of
from dagster_project.analyses.tables import CONTRACTS, as_contracted, withdraw_refused
from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import cohort_drift
from dagster_project.stats.risk.features import CONTACT, NO_CONTACT, REASONS
from dagster_project.stats.risk.models import SEED
from dagster_project.stats.risk.training import RiskScorer
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


WEEK_DAYS = 7
SCORING_TABLES = ("scores", "reasons", "drift")


def read_active(subject: Subject, store: Warehouse, source: str) -> pd.DataFrame:
    """The running cohorts' last two weeks; `is_latest` marks the week that is scored."""
    import pandas as pd

    last_data_on = f"(select last_data_on from core.dim_source where source = {literal(source)})"
    rows = subject.read(
        store, f"source = {literal(source)} and as_of_on > {last_data_on} - interval {2 * WEEK_DAYS - 1} day"
    )
    if rows.empty:
        return rows
    (last,) = (x for batch in store.batches(f"select {last_data_on}") for x in batch.column(0).to_pylist())
    # A cohort runs while a week of it ended in the last seven days of the data.
    is_last_week = rows["as_of_on"] > pd.Timestamp(last) - timedelta(days=WEEK_DAYS - 1)
    is_running = is_last_week.groupby([rows["peer_group"], rows["starts_on"]]).transform("any")
    rows["is_latest"] = is_last_week & rows["y"].isna()  # nobody is warned of what is known
    has_active = rows.groupby("peer_group")["is_latest"].transform("any")
    return rows[is_running & has_active].reset_index(drop=True)


def _uncontacted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as if nobody had been contacted: a score says what happens without another call."""
    return rows.assign(**{CONTACT: NO_CONTACT})


def _score(
    subject: Subject, source: str, active: pd.DataFrame, scorer: RiskScorer, settings: Settings, now: datetime
) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Scores and reasons of the latest week, and how far contributions are from adding up."""
    scored = active.join(scorer.score(active))
    before = scored[~scored["is_latest"]].groupby("enrollment_key")["probability"].last()
    latest = scored[scored["is_latest"]]
    probability = latest["probability"]
    band = np.select(
        [probability >= settings.at_risk_alert_from, probability >= settings.at_risk_watch_from],
        ["high", "medium"],
        "low",
    )
    found = latest[["source", "enrollment_key", "learner_key", "program_key", "course_key", "week_number"]].assign(
        outcome=subject.name,
        as_of_on=latest["as_of_on"].dt.date,
        probability=probability,
        probability_low=latest["low"],
        probability_high=latest["high"],
        band=band,
        probability_change=probability - latest["enrollment_key"].map(before).astype(float),
        log_odds=latest["log_odds"],
        is_held_out=[_draw(key) < settings.at_risk_holdout_share for key in latest["learner_key"]],
        model_version=scorer.version,
        scored_on=now.date(),
        scored_at=now,
    )
    told = active["is_latest"].to_numpy() & (scored["probability"] >= settings.at_risk_watch_from).to_numpy()
    why = scorer.reasons(active, REASONS, rows=told)
    why = why.rename(columns={"column": "measure", "value": "learner_value"}).assign(
        source=source,
        outcome=subject.name,
        enrollment_key=active["enrollment_key"].to_numpy()[why["row"].to_numpy(int)],
    )
    matrix = scorer.encoder.encode(active)[told]
    sums = scorer.model.contributions(matrix).sum(axis=1) if len(matrix) else np.zeros(0)
    gap = float(np.abs(sums - scored.loc[told, "log_odds"]).max()) if len(matrix) else 0.0
    return found, why, gap


def _draw(learner_key: str) -> float:
    """A number from 0 to 1 that stays the learner's own: who is held out today is held out tomorrow."""
    return int(hashlib.sha256(f"{SEED}:{learner_key}".encode()).hexdigest()[:8], 16) / 2**32


def _drift(
    subject: Subject,
    source: str,
    store: Warehouse,
    active: pd.DataFrame,
    scorer: RiskScorer,
    entry: pd.Series,
    now: datetime,
) -> pd.DataFrame:
    """Those who are scored against the trained cohorts in the same weeks of term."""
    weeks = sorted(active.loc[active["is_latest"], "week_number"].unique())
    trained = subject.read(
        store,
        f"source = {literal(source)} and week_number in ({', '.join(map(str, weeks))}) "
        f"and term between {literal(entry['first_cohort'])} and {literal(entry['last_cohort'])}",
    )
    table = cohort_drift(scorer, trained, active, COLUMNS.week, active["is_latest"].to_numpy())
    return table.assign(
        source=source,
        outcome=subject.name,
        n_expected=len(trained),
        n_actual=int(active["is_latest"].sum()),
        model_version=scorer.version,
        checked_on=now.date(),
    )


@dataclass(frozen=True)
class ScoringRound:
    """One pass over the active learners of all subjects and sources; names are "<source>/<outcome>".

    Attributes:
        counts: rows by table
        told: what was done, in words, by name
        frames: rows of "scores", "reasons" and "drift"
        expected: active learners by name, counted in the marts by a query of its own
        gaps: largest distance between contributions plus base and log-odds, by name
        trained: names whose model was trained today
    """

    counts: dict[str, int]
    told: dict[str, str]
    frames: dict[str, pd.DataFrame]
    expected: dict[str, int]
    gaps: dict[str, float]
    trained: list[str]


def score_active(store: Warehouse, settings: Settings, now: datetime) -> ScoringRound:
    """Score every active learner by the champion of their source and outcome; `now` is UTC without zone."""
    import pandas as pd

    # Scores that were refused yesterday would stop every run from today on.
    withdraw_refused(settings, ["analytics.at_risk_scores"])
    registry = store.read("analytics.at_risk_models")
    scores, reasons, drifts, expected, gaps, told, trained = [], [], [], {}, {}, {}, []
    for subject in SUBJECTS:
        for source in sources_of(store, subject):
            name = f"{source}/{subject.name}"
            entry = champion_of(
                registry, source, subject.name, pinned_version(settings, registry, source, subject.name)
            )
            if entry is None:
                told[name] = "no model yet"
                continue
            expected[name] = subject.count_active(store, source)
            active = read_active(subject, store, source)
            if active.empty:
                told[name] = "nobody is active: no cohort runs on the last day of the source's data"
                continue
            scorer = load_scorer(settings, entry["model_version"])
            found, why, gap = _score(subject, source, _uncontacted(active), scorer, settings, now)
            told[name] = f"{len(found)} learners by model {scorer.version}"
            gaps[name] = gap
            scores.append(found)
            reasons.append(why)
            drifts.append(_drift(subject, source, store, active, scorer, entry, now))
            if entry["trained_at"].date() == now.date():
                trained.append(name)
    frames, counts = {}, {}
    for table, parts in {"scores": scores, "reasons": reasons, "drift": drifts}.items():
        contract = CONTRACTS[f"analytics.at_risk_{table}"]
        frame = as_contracted(contract, pd.concat(parts) if parts else pd.DataFrame())
        frames[table] = frame
        if contract.append_only:  # a day's last run counts, also after one that was killed
            counts[table] = store.append(contract.table, frame, contract, now.date().isoformat())
        else:
            counts[table] = store.write(contract.table, frame, contract)
    return ScoringRound(counts, told, frames, expected, gaps, trained)
