"""Scores of the active learners: rows of the last weeks, probabilities, reasons and drift."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.analyses.at_risk.registry import champion_of, load_reference, load_scorer, pinned_version
from dagster_project.analyses.at_risk.subjects import (
    CALLED_AMONG,
    COLUMNS,
    SUBJECTS,
    TRAINING_WEEKS,
    Subject,
    call_shares,
)
from dagster_project.analyses.at_risk.training import sources_of
from dagster_project.analyses.tables import CONTRACTS, as_contracted, withdraw_refused
from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import cohort_drift
from dagster_project.stats.risk.bands import call_bands, call_places
from dagster_project.stats.risk.features import CONTACT, NO_CONTACT, REASONS
from dagster_project.stats.risk.models import SEED
from dagster_project.stats.risk.rows import Rows
from dagster_project.stats.risk.training import RiskScorer
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


WEEK_DAYS = 7
MOST_EARLIER_ROWS = 50_000  # of a term: as many tell its level as well as all
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


def read_earlier_weeks(subject: Subject, store: Warehouse, source: str, active: pd.DataFrame) -> list[Rows]:
    """Weeks before those of the active, of the same terms: who of them has left since tells the term's level."""
    parts = []
    for term, first in active.groupby("term")["as_of_on"].min().items():
        rows = subject.read(
            store,
            f"source = {literal(source)} and term = {literal(term)} and {TRAINING_WEEKS} "
            f"and as_of_on < date '{first.date()}'",
        )
        if len(rows):
            parts.append(subject.prepared(_uncontacted(rows)).drawn(MOST_EARLIER_ROWS))
    return parts


def _uncontacted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as if nobody had been contacted: a score says what happens without another call."""
    return rows.assign(**{CONTACT: NO_CONTACT})


def _score(
    subject: Subject,
    source: str,
    active: pd.DataFrame,
    earlier: Sequence[Rows],
    scorer: RiskScorer,
    settings: Settings,
    now: datetime,
) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Scores and reasons of the latest week, and how far contributions are from adding up."""
    rows = subject.prepared(active)
    told = scorer.score(rows, earlier)
    scored = active.join(told).assign(tie=rows.learners(COLUMNS.learner))
    before = scored[~scored["is_latest"]].groupby("enrollment_key")["probability"].last()
    latest = scored[scored["is_latest"]].copy()
    among = [*CALLED_AMONG, COLUMNS.week]
    latest["band"] = call_bands(latest, among, call_shares(latest, settings))
    keys = ["source", "enrollment_key", "learner_key", "program_key", "course_key", "peer_group", "week_number"]
    found = latest[[*keys, "probability", "log_odds", "band"]].assign(
        outcome=subject.name,
        as_of_on=latest["as_of_on"].dt.date,
        probability_low=latest["low"],
        probability_high=latest["high"],
        call_place=call_places(latest, among)["place"],
        probability_change=latest["probability"] - latest["enrollment_key"].map(before).astype(float),
        is_held_out=[_draw(key) < settings.at_risk_holdout_share for key in latest["learner_key"]],
        model_version=scorer.version,
        scored_on=now.date(),
        scored_at=now,
    )
    called = np.zeros(len(active), bool)
    called[latest.index[latest["band"] != "low"]] = True
    why = scorer.reasons(rows, active, REASONS, explained=called)
    why = why.rename(columns={"column": "measure", "value": "learner_value"}).assign(
        source=source,
        outcome=subject.name,
        enrollment_key=active["enrollment_key"].to_numpy()[why["row"].to_numpy(int)],
    )
    matrix = scorer.encoder.encode(rows.take(called))
    sums = scorer.model.contributions(matrix).sum(axis=1) if len(matrix) else np.zeros(0)
    gap = float(np.abs(sums - scored.loc[called, "log_odds"]).max()) if len(matrix) else 0.0
    return found, why, gap


def _draw(learner_key: str) -> float:
    """A number from 0 to 1 that stays the learner's own: who is held out today is held out tomorrow."""
    return int(hashlib.sha256(f"{SEED}:{learner_key}".encode()).hexdigest()[:8], 16) / 2**32


def _drift(
    subject: Subject, source: str, active: pd.DataFrame, scorer: RiskScorer, settings: Settings, now: datetime
) -> pd.DataFrame:
    """Those who are scored against the trained cohorts in the same weeks of term."""
    import pandas as pd

    reference = load_reference(settings, scorer.version)
    if reference is None:
        return pd.DataFrame()
    latest = subject.prepared(active).take(active["is_latest"].to_numpy())
    return cohort_drift(scorer, reference, latest).assign(
        source=source,
        outcome=subject.name,
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
            earlier = [] if scorer.leaving is None else read_earlier_weeks(subject, store, source, active)
            found, why, gap = _score(subject, source, _uncontacted(active), earlier, scorer, settings, now)
            told[name] = f"{len(found)} learners by model {scorer.version}"
            gaps[name] = gap
            scores.append(found)
            reasons.append(why)
            drifts.append(_drift(subject, source, active, scorer, settings, now))
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
