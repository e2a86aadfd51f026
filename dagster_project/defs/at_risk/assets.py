"""Scores of who is likely to fail or leave: models trained when a cohort matures, scores every day."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from dagster_project.base.sql import literal
from dagster_project.base.threads import in_order
from dagster_project.contracts.tables import TableContract
from dagster_project.defs.analytics import CONTRACTS, analytics_spec, withdraw_refused
from dagster_project.defs.at_risk import checks
from dagster_project.defs.at_risk.look_ahead import recounted_leaks
from dagster_project.defs.at_risk.registry import champion_of, load_scorer, pinned_version, save_scorer
from dagster_project.defs.at_risk.subjects import COLUMNS, SUBJECTS, Subject
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.ingest.requests import Erasures
from dagster_project.ingest.sources import registered_sources
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import Backtest, backtest, cohort_drift, is_enough, last_split, splits
from dagster_project.stats.risk.features import CONTACT, NO_CONTACT, REASONS
from dagster_project.stats.risk.models import MODELS, SEED, BoostedTrees
from dagster_project.stats.risk.training import RiskScorer, fit_scorer
from dagster_project.store.warehouse import Warehouse

RETRAINED_AFTER = timedelta(days=7)
WEEK_DAYS = 7
FOLDS = 2
TRAINING_TABLES = ("models", "backtest", "calibration", "subgroups", "ranking")
SCORING_TABLES = ("scores", "reasons", "drift")
READS = sorted({table for subject in SUBJECTS for table in subject.tables})


@dg.multi_asset(
    specs=[analytics_spec(f"analytics.at_risk_{table}", READS) for table in TRAINING_TABLES],
    check_specs=checks.TRAINING_CHECKS,
    pool=WRITER_POOL,
)
def at_risk_training(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator:
    """Train when a cohort has matured, the champion is a week old or a suite refused the last training; else
    everything stays as it is."""
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        now = datetime.now(UTC).replace(tzinfo=None)
        is_refused = withdraw_refused(settings, [f"analytics.at_risk_{table}" for table in TRAINING_TABLES])
        registry = store.read("analytics.at_risk_models")
        kept = {table: store.read(f"analytics.at_risk_{table}") for table in TRAINING_TABLES[1:]}
        new: dict[str, list[pd.DataFrame]] = {table: [kept[table]] for table in kept}
        registered, told, judgements, without_champion = [], {}, {}, []

        erasures = Erasures(settings)
        erased_at = {source.name: erasures.last_unloaded(source.name) for source in registered_sources(settings)}

        def work(subject: Subject, source: str) -> tuple[Subject, str, str, Training | None]:
            matured = subject.read_matured(store, source, settings.at_risk_training_learners)
            reason = _why_not(
                subject, matured, registry, source, kept["backtest"], now, erased_at.get(source), is_refused
            )
            if reason:
                return subject, source, reason, None
            training = _train(subject, source, matured, settings, registry, now)
            return subject, source, training.decision, training

        pieces = [(subject, source) for subject in SUBJECTS for source in _sources(store, subject)]
        for subject, source, decision, training in in_order(work, pieces, settings.threads):
            name = f"{source}/{subject.name}"
            told[name] = decision
            if training is None:
                metrics = last_split(_of(kept["backtest"], source, subject))
                judgements[name] = checks.Judgement(metrics)
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
        counts = {}
        for table, frame in tables.items():
            contract = CONTRACTS[f"analytics.at_risk_{table}"]
            counts[table] = store.write(contract.table, _as(contract, frame), contract)
        # Registered last: what a run that is killed here has trained is then trained again, not registered twice.
        contract = CONTRACTS["analytics.at_risk_models"]
        counts["models"] = store.append(
            contract.table, _as(contract, pd.DataFrame(registered)), contract, context.run_id
        )
    for table, count in counts.items():
        yield dg.MaterializeResult(
            ["analytics", f"at_risk_{table}"],
            metadata={"dagster/row_count": count, "decisions": dg.MetadataValue.json(told)},
        )
    yield from checks.of_training(judgements, without_champion)


@dg.multi_asset(
    specs=[analytics_spec(f"analytics.at_risk_{table}", ["analytics.at_risk_models"]) for table in SCORING_TABLES],
    check_specs=checks.SCORING_CHECKS,
    pool=WRITER_POOL,
)
def at_risk_scoring(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator:
    """One pass over the active learners."""
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        now = datetime.now(UTC).replace(tzinfo=None)
        # Scores that were refused yesterday would stop every run from today on.
        withdraw_refused(settings, ["analytics.at_risk_scores"])
        registry = store.read("analytics.at_risk_models")
        scores, reasons, drifts, expected, gaps, told, trained = [], [], [], {}, {}, {}, []
        for subject in SUBJECTS:
            for source in _sources(store, subject):
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
        frames = {"scores": scores, "reasons": reasons, "drift": drifts}
        counts = {}
        for table, parts in frames.items():
            contract = CONTRACTS[f"analytics.at_risk_{table}"]
            frame = _as(contract, pd.concat(parts) if parts else pd.DataFrame())
            frames[table] = frame
            if contract.append_only:  # a day's last run counts, also after one that was killed
                counts[table] = store.append(contract.table, frame, contract, now.date().isoformat())
            else:
                counts[table] = store.write(contract.table, frame, contract)
    for table, count in counts.items():
        yield dg.MaterializeResult(
            ["analytics", f"at_risk_{table}"],
            metadata={"dagster/row_count": count, "scored": dg.MetadataValue.json(told)},
        )
    yield checks.every_learner_once(expected, frames["scores"])
    yield checks.adds_up(gaps)
    yield checks.has_not_drifted(frames["drift"], trained)


def _sources(store: Warehouse, subject: Subject) -> list[str]:
    batches = store.batches(f"select distinct source from {subject.tables[0]} order by source")
    return [source for batch in batches for source in batch.column(0).to_pylist()]


def _of(table: pd.DataFrame, source: str, subject: Subject) -> pd.DataFrame:
    return table[(table["source"] == source) & (table["outcome"] == subject.name)]


def _why_not(
    subject: Subject,
    matured: pd.DataFrame,
    registry: pd.DataFrame,
    source: str,
    evidence: pd.DataFrame,
    now: datetime,
    erased_at: datetime | None = None,
    is_refused: bool = False,
) -> str | None:
    """Why no model is trained now; None: one is. A model from before `erased_at` may know a learner who was erased;
    what of the last training a suite refused (`is_refused`) would stop every run."""
    if matured.empty or not is_enough(matured, "y", COLUMNS.learner):
        return "too few learners with a matured outcome"
    entry = champion_of(registry, source, subject.name)
    is_shown = len(_of(evidence, source, subject)) > 0
    if is_refused or entry is None or (not is_shown and entry["metrics"] is not None):
        return None
    if erased_at and entry["trained_at"] <= erased_at:
        return None
    # A model that was refused is tried again when the next one is due, not every day.
    newest = _of(registry, source, subject).sort_values("trained_at", kind="stable").iloc[-1]
    if newest["last_cohort"] == matured["term"].max() and now - newest["trained_at"] < RETRAINED_AFTER:
        if newest["trained_at"] > entry["trained_at"]:
            return f"model {entry['model_version']} keeps scoring: {newest['decision']}"
        return f"model {entry['model_version']} of {entry['trained_at']:%Y-%m-%d} knows the last matured cohort"
    return None


@dataclass(frozen=True)
class Training:
    """A training of one subject: what is registered, and what is known of it. `former`: the champion until now."""

    rows: list[dict]
    evidence: Backtest
    judgement: checks.Judgement
    former: pd.Series | None
    decision: str

    @property
    def is_refused(self) -> bool:
        return bool(self.judgement.refusals)


def _train(
    subject: Subject, source: str, matured: pd.DataFrame, settings: Settings, registry: pd.DataFrame, now: datetime
) -> Training:
    """Evidence on cohorts not seen, then models of all matured ones; what can be saved is saved and registered.

    A winner that fails a check is registered, and is no champion.
    """
    former = champion_of(registry, source, subject.name)
    evidence = backtest(
        list(splits(matured, "y", COLUMNS, term="term", starts_on="starts_on", known_on="known_on")),
        "y",
        subject.features,
        COLUMNS,
        incumbent=former["model"] if former is not None else BoostedTrees.kind,
        alert_at=settings.at_risk_alert_from,
        subgroups=subject.subgroups,
        minimum_group=settings.minimum_group_size,
        enrollment="enrollment_key",
        withdrawal_day="withdrawal_day",
        folds=FOLDS,
    )
    leaks = recounted_leaks(settings, subject, source)
    judgement = checks.Judgement(last_split(evidence.metrics), leaks, evidence.drift if len(evidence.drift) else None)
    decision = evidence.decision
    if judgement.refusals:
        stays = f"model {former['model_version']} keeps scoring" if former is not None else "nobody is scored"
        decision = f"{evidence.winner} refused, {stays}: {'; '.join(judgement.refusals.values())}. {decision}"
    rows = []
    for kind, model in MODELS.items():
        metrics = last_split(evidence.metrics)
        if len(metrics):
            metrics = metrics[metrics["model"] == kind]
        told = metrics.to_json(orient="records") if len(metrics) else None
        row = {"source": source, "outcome": subject.name, "model": kind, "trained_at": now, "metrics": told}
        row |= {"first_cohort": matured["term"].min(), "last_cohort": matured["term"].max()}
        row |= {"row_count": len(matured), "learner_count": matured["learner_key"].nunique()}
        row |= {"is_champion": kind == evidence.winner and not judgement.refusals, "decision": decision}
        row |= {"features": json.dumps([x.name for x in subject.features])}
        if kind == evidence.winner or (model.is_explainable and kind == "logistic"):
            scorer = fit_scorer(matured, "y", subject.features, COLUMNS, kind=kind, folds=FOLDS)
            save_scorer(settings, scorer)
            row |= {"model_version": scorer.version, "file": scorer.version}
        elif told is None:
            continue
        else:
            identity = json.dumps([source, subject.name, kind, told])
            row |= {"model_version": hashlib.sha256(identity.encode()).hexdigest()[:16], "file": None}
        rows.append(row)
    return Training(rows, evidence, judgement, former, decision)


def read_active(subject: Subject, store: Warehouse, source: str) -> pd.DataFrame:
    """The running cohorts' last two weeks; `is_latest` marks the week that is scored."""
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


def _as(contract: TableContract, frame: pd.DataFrame) -> pd.DataFrame:
    """Exactly the contract's columns, null where nothing is known."""
    return frame.reindex(columns=[column.name for column in contract.columns]).reset_index(drop=True)
