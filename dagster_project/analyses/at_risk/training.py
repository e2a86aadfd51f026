"""Training of risk models: when one is due, its evidence on cohorts not seen, and what is registered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dagster_project.analyses.at_risk.judgement import Judgement
from dagster_project.analyses.at_risk.look_ahead import recounted_leaks
from dagster_project.analyses.at_risk.registry import champion_of, is_readable, save_scorer
from dagster_project.analyses.at_risk.subjects import CALLED_AMONG, COLUMNS, SUBJECTS, Subject, call_shares
from dagster_project.analyses.tables import CONTRACTS, as_contracted, withdraw_refused
from dagster_project.base.threads import in_order
from dagster_project.ingest.requests import Erasures
from dagster_project.ingest.sources import registered_sources
from dagster_project.settings import Settings
from dagster_project.stats.one_thread import one_thread_for_algebra
from dagster_project.stats.risk.backtest import Backtest, backtest, is_enough, last_split, reference_of, splits
from dagster_project.stats.risk.models import MODELS, BoostedTrees
from dagster_project.stats.risk.rows import Rows
from dagster_project.stats.risk.training import draw_training_rows, fit_scorer
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


RETRAINED_AFTER = timedelta(days=7)
TOO_FEW = "too few learners with a matured outcome"
PREDICTIONS = "predictions"
"""A row a learner, week and model: not read or written where nothing was trained."""
TRAINING_TABLES = ("models", "backtest", PREDICTIONS, "calibration", "subgroups", "ranking")
READS = sorted({table for subject in SUBJECTS for table in subject.tables})


def sources_of(store: Warehouse, subject: Subject) -> list[str]:
    """Sources that have rows in the mart of a subject, by name."""
    batches = store.batches(f"select distinct source from {subject.mart} order by source")
    return [source for batch in batches for source in batch.column(0).to_pylist()]


def rows_of(table: pd.DataFrame, source: str, subject: Subject) -> pd.DataFrame:
    """The rows of a table that are about this source and outcome."""
    return table[(table["source"] == source) & (table["outcome"] == subject.name)]


def _why_not(
    subject: Subject,
    terms: Sequence[str],
    registry: pd.DataFrame,
    source: str,
    evidence: pd.DataFrame,
    now: datetime,
    erased_at: datetime | None = None,
    is_refused: bool = False,
) -> str | None:
    """Why no model is trained now; None: one is, if there is enough to learn from.

    A model from before `erased_at` may know a learner who was erased; what of the last training a suite refused
    (`is_refused`) would stop every run.
    """
    if not terms:
        return TOO_FEW
    entry = champion_of(registry, source, subject.name)
    is_shown = len(rows_of(evidence, source, subject)) > 0
    if is_refused or entry is None or (not is_shown and entry["metrics"] is not None):
        return None
    if erased_at and entry["trained_at"] <= erased_at:
        return None
    # A model that was refused is tried again when the next one is due, not every day.
    newest = rows_of(registry, source, subject).sort_values("trained_at", kind="stable").iloc[-1]
    if newest["last_cohort"] == max(terms) and now - newest["trained_at"] < RETRAINED_AFTER:
        if newest["trained_at"] > entry["trained_at"]:
            return f"model {entry['model_version']} keeps scoring: {newest['decision']}"
        return f"model {entry['model_version']} of {entry['trained_at']:%Y-%m-%d} knows the last matured cohort"
    return None


@dataclass(frozen=True)
class Training:
    """A training of one subject: what is registered, and what is known of it. `former`: the champion until now."""

    rows: list[dict]
    evidence: Backtest
    judgement: Judgement
    former: pd.Series | None
    decision: str

    @property
    def is_refused(self) -> bool:
        """Whether any claim about the model was found broken: it does not become champion."""
        return bool(self.judgement.refusals)


def _train(
    subject: Subject, source: str, matured: Rows, settings: Settings, registry: pd.DataFrame, now: datetime
) -> Training:
    """Evidence on cohorts not seen, then models of all matured ones; what can be saved is saved and registered.

    A winner that fails a check is registered, and is no champion.
    """
    former = champion_of(registry, source, subject.name)
    evidence = backtest(
        list(splits(matured, "y", COLUMNS, starts_on="starts_on", known_on="known_on")),
        "y",
        COLUMNS,
        incumbent=former["model"] if former is not None else BoostedTrees.kind,
        subgroups=subject.subgroups,
        called_among=CALLED_AMONG,
        call_shares=lambda frame: call_shares(frame, settings),
        minimum_group=settings.minimum_group_size,
    )
    leaks = recounted_leaks(settings, subject, source)
    judgement = Judgement(evidence.metrics, leaks, evidence.drift if len(evidence.drift) else None)
    decision = evidence.decision
    if judgement.refusals:
        stays = f"model {former['model_version']} keeps scoring" if former is not None else "nobody is scored"
        decision = f"{evidence.winner} refused, {stays}: {'; '.join(judgement.refusals.values())}. {decision}"
    rows, frame = [], matured.frame
    training = draw_training_rows(matured, "y", COLUMNS)
    for kind, model in MODELS.items():
        metrics = last_split(evidence.metrics)
        if len(metrics):
            metrics = metrics[metrics["model"] == kind]
        told = metrics.to_json(orient="records") if len(metrics) else None
        row = {"source": source, "outcome": subject.name, "model": kind, "trained_at": now, "metrics": told}
        row |= {"first_cohort": frame["term"].min(), "last_cohort": frame["term"].max()}
        row |= {"row_count": len(matured), "learner_count": frame["learner_key"].nunique()}
        row |= {"is_champion": kind == evidence.winner and not judgement.refusals, "decision": decision}
        row |= {"features": json.dumps([x.name for x in subject.features])}
        if kind == evidence.winner or (model.is_explainable and kind == "logistic"):
            scorer = fit_scorer(training, kind)
            save_scorer(settings, scorer, reference_of(scorer, matured))
            row |= {"model_version": scorer.version, "file": scorer.version}
        elif told is None:
            continue
        else:
            identity = json.dumps([source, subject.name, kind, told])
            row |= {"model_version": hashlib.sha256(identity.encode()).hexdigest()[:16], "file": None}
        rows.append(row)
    return Training(rows, evidence, judgement, former, decision)


@dataclass(frozen=True)
class TrainingRound:
    """One round over all subjects and sources; names are "<source>/<outcome>".

    Attributes:
        counts: rows by table, "models" for at_risk_models
        decisions: what was decided, in words, by name
        judgements: what is known of the model that scores from now on, by name
        without_champion: names whose model was refused and that have no former champion
    """

    counts: dict[str, int]
    decisions: dict[str, str]
    judgements: dict[str, Judgement]
    without_champion: list[str]


def _is_as_contracted(store: Warehouse, table: str) -> bool:
    return list(store.types(table)) == [column.name for column in CONTRACTS[table].columns]


def train_where_due(store: Warehouse, settings: Settings, now: datetime, run_id: str) -> TrainingRound:
    """Train when a cohort has matured, the champion is a week old or a suite refused the last training.

    Else everything stays as it is.

    Args:
        now: UTC without zone.
        run_id: what registers the models; a second append of it replaces the first.
    """
    import pandas as pd

    is_refused = withdraw_refused(settings, [f"analytics.at_risk_{table}" for table in TRAINING_TABLES])
    registry = store.read("analytics.at_risk_models")
    kept = {table: store.read(f"analytics.at_risk_{table}") for table in TRAINING_TABLES[1:] if table != PREDICTIONS}
    registered, told, judgements, without_champion = [], {}, {}, []

    erasures = Erasures(settings)
    erased_at = {source.name: erasures.last_unloaded(source.name) for source in registered_sources(settings)}

    def work(subject: Subject, source: str) -> tuple[Subject, str, str, Training | None]:
        champion = champion_of(registry, source, subject.name)
        # A model of an earlier version of this program cannot score: it is no champion to keep.
        is_lost = champion is not None and not is_readable(settings, champion["model_version"])
        known = registry.drop(rows_of(registry, source, subject).index) if is_lost else registry
        terms = subject.matured_terms(store, source)
        reason = _why_not(subject, terms, known, source, kept["backtest"], now, erased_at.get(source), is_refused)
        matured = None if reason else subject.read_matured(store, source)
        if matured is None or not is_enough(matured.frame, "y", COLUMNS.learner):
            return subject, source, reason or TOO_FEW, None
        training = _train(subject, source, matured, settings, known, now)
        return subject, source, training.decision, training

    pieces = [(subject, source) for subject in SUBJECTS for source in sources_of(store, subject)]
    # Pieces run side by side: threads within them would wait for each other's, and turn while they wait.
    with one_thread_for_algebra():
        trained = list(in_order(work, pieces, settings.threads))
    counts = {}
    predictions = f"analytics.at_risk_{PREDICTIONS}"
    if any(training for *_, training in trained) or not _is_as_contracted(store, predictions):
        kept[PREDICTIONS] = store.read(predictions)
    else:
        counts[PREDICTIONS] = store.row_count(predictions)
    new: dict[str, list[pd.DataFrame]] = {table: [kept[table]] for table in kept}
    for subject, source, decision, training in trained:
        name = f"{source}/{subject.name}"
        told[name] = decision
        if training is None:
            judgements[name] = Judgement(rows_of(kept["backtest"], source, subject))
            continue
        registered += training.rows
        judgements[name] = training.judgement
        if training.is_refused and training.former is not None and not is_refused:
            continue  # the evidence stays that of the model that scores
        if training.is_refused and training.former is None:
            without_champion.append(name)
        for table in kept:
            frame = getattr(training.evidence, "metrics" if table == "backtest" else table)
            old = new[table][0]
            new[table][0] = old[(old["source"] != source) | (old["outcome"] != subject.name)]
            if len(frame):
                new[table].append(frame.assign(source=source, outcome=subject.name))
                if table == "backtest" and training.is_refused:
                    new[table][-1]["is_champion"] = False
    tables = {table: pd.concat(frames) for table, frames in new.items()}
    for table, frame in tables.items():
        contract = CONTRACTS[f"analytics.at_risk_{table}"]
        counts[table] = store.write(contract.table, as_contracted(contract, frame), contract)
    # Registered last: what a run that is killed here has trained is then trained again, not registered twice.
    contract = CONTRACTS["analytics.at_risk_models"]
    counts["models"] = store.append(contract.table, as_contracted(contract, pd.DataFrame(registered)), contract, run_id)
    return TrainingRound(counts, told, judgements, without_champion)
