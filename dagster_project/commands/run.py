"""`make run`: load, build, check and publish one source."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.base import clock
from dagster_project.base.memory import memory_watch
from dagster_project.commands.environment import say
from dagster_project.commands.gate import up_to_date
from dagster_project.commands.interruption import keep_signals, last_words
from dagster_project.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, JobExecutionResult

    from dagster_project.ingest.sources import Source
    from dagster_project.store.accepted import State
    from dagster_project.store.plan import Plan

TOLD_OF_RISK = {"scored": "analytics.at_risk_scores", "decisions": "analytics.at_risk_models"}
"""Where the steps of risk say why nobody is scored: word of the metadata → table."""
SHOWN_REASONS = 3
"""Of why a run does something, on its first screen; the UI shows every asset."""


def perform(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 when it published, 1 when it did not, 2 when it could not start."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.preflight import check_landing

    # What can be told in a second is told before Dagster and dbt are waited for.
    source = _wanted_source(settings, arguments.source, arguments.contract, arguments.landing)
    for note in check_landing(CONTRACTS[source.contract], source.name, source.landing, settings):
        say(f"Note: {note}")
    everything = "it was asked for" if arguments.everything else ""
    if not everything and (state := up_to_date(settings, source)):
        say(_nothing_to_do(state))
        return 0
    return run_source(settings, source, everything)


def _wanted_source(settings: Settings, name: str, contract: str | None, landing: Path | None) -> "Source":
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.ingest.sources import Source, check_source, find_source

    source = Source(name, contract or name, landing) if landing else find_source(settings, name)
    if contract and contract != source.contract:
        source = replace(source, contract=contract)
    check_source(settings, source, CONTRACTS)
    return source


def run_source(settings: Settings, source: "Source", everything: str = "") -> int:
    """Run the job of a source in this process, which knows it from then on.

    Args:
        everything: why all is made again, also what follows from nothing new.

    Returns:
        0 when it published, 1 when it did not, 2 when it could not start.
    """
    keep_signals()
    snapshot = _snapshot(settings)
    with last_words(lambda: _what_stands(settings, source, snapshot)):
        return _run(settings, source, snapshot, everything)


def _run(settings: Settings, source: "Source", snapshot: str | None, everything: str) -> int:
    started = time.monotonic()
    began_at = clock.now_as_stored()
    memory = memory_watch()
    say("Starting Dagster and dbt …")

    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    from dagster_project.analyses.at_risk.subjects import SUBJECTS
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.definitions import defs
    from dagster_project.defs.automation import erasures_state, job_name
    from dagster_project.defs.instance.failures import alert, problems_of
    from dagster_project.defs.instance.history import record_end
    from dagster_project.defs.instance.lost_runs import BEGUN_BY_TAG, cancel_runs, fail_lost_runs, this_process
    from dagster_project.defs.partitions import (
        DUE_TAG,
        ERASURES_TAG,
        LANDING_TAG,
        MAX_RETRIES_TAG,
        run_request_arguments,
    )
    from dagster_project.defs.planning import confirm, plan_of, selection_of
    from dagster_project.ingest.audit import refused_reasons
    from dagster_project.ingest.landing import landing_state
    from dagster_project.ingest.sources import register_source
    from dagster_project.report.empty_answers import empty_answers
    from dagster_project.report.outbox import send_waiting
    from dagster_project.report.summary import run_summary
    from dagster_project.store import accepted

    register_source(settings, source, CONTRACTS)
    process = this_process()

    def cancel() -> str:
        cancel_runs(instance, process)
        return _what_stands(settings, source, snapshot)

    with dg.DagsterInstance.get() as instance, last_words(cancel):
        fail_lost_runs(instance)
        graph = defs.resolve_asset_graph()
        plan = plan_of(graph, settings, [source], everything)
        if not plan:
            say(_nothing_to_do(confirm(graph, settings)))
            return 0
        # Of the whole repository: a step asks its graph for all that it has.
        job = ReconstructableRepository.for_module("dagster_project.definitions", "defs", str(REPOSITORY))
        job = job.get_reconstructable_job(job_name(source.contract))
        keys = job.get_definition().asset_layer.selected_asset_keys

        def execute(plan: "Plan", **further_tags: str) -> "JobExecutionResult":
            say(_told_plan(plan))
            arguments = run_request_arguments(source, settings, clock.today())
            # Dagster can start again what it started only.
            tags = arguments["tags"] | {MAX_RETRIES_TAG: "0", BEGUN_BY_TAG: process} | further_tags
            # The sensors then know what this run loads, whom it erases, and what was due.
            landed, erased = landing_state(source.landing), erasures_state(source, settings)
            tags |= {LANDING_TAG: landed} if landed else {}
            tags |= {ERASURES_TAG: erased} if erased else {}
            selection = selection_of(plan, graph, keys)
            return dg.execute_job(
                job.get_subset(asset_selection=selection.assets, asset_check_selection=selection.checks),
                instance=instance,
                tags=tags,
                run_config={**arguments["run_config"], "loggers": {"console": {}}},
            )

        results = [execute(plan)]
        # Only what was built tells whether another cohort has matured: its effects are then due at once.
        state = accepted.read(settings) if results[0].success else None
        if state and state.is_due(clock.now_as_stored()) and (plan := plan_of(graph, settings, [source])):
            results.append(execute(plan, **{DUE_TAG: state.occasion}))
        result = results[-1]
        if not_recorded := record_end(instance, result.run_id, settings):
            say(not_recorded)
        failure = () if result.success else problems_of(instance, result.run_id)
        told = alert(instance, result.run_id, settings, *failure) if failure else send_waiting(settings)
        for line in told:
            say(line)
        seconds = time.monotonic() - started
        cost = (seconds, memory.peak(), _step_seconds(results))
        told = {word: _told(instance, word, table) for word, table in TOLD_OF_RISK.items()}
        scored_since = began_at if _made(results, TOLD_OF_RISK["scored"]) else datetime.min
        print(
            run_summary(
                settings,
                source.name,
                result.success,
                *cost,
                *failure,
                refused=[str(reason) for reason in refused_reasons(CONTRACTS[source.contract], source.name, settings)],
                empty=lambda connection: empty_answers(
                    connection, [subject.name for subject in SUBJECTS], scored_since, told["scored"], told["decisions"]
                ),
            )
        )
    return 0 if result.success else 1


def _told_plan(plan: "Plan") -> str:
    """How much a run makes, and what for: the reasons that begin it, not those that follow from others."""
    reasons = [f"{name}: {reason}" for name, reason in plan.tables.items() if not reason.endswith(" changes")]
    more = f" and {len(reasons) - SHOWN_REASONS} more reasons" if len(reasons) > SHOWN_REASONS else ""
    told = "; ".join(reasons[:SHOWN_REASONS]) + more
    return f"{len(plan.tables)} of {len(plan.tables) + len(plan.kept)} tables and pages are to be made ({told})"


def _nothing_to_do(state: "State | None") -> str:
    snapshot = f"snapshot {state.snapshot_id}" if state else "what is published"
    due = f" Next without new files: {state.due_reason}, {state.due:%Y-%m-%d %H:%M} UTC." if state and state.due else ""
    return f"Nothing new: {snapshot} is up to date, and nothing was written.{due}"


def _told(instance: "DagsterInstance", word: str, table: str) -> dict[str, str]:
    """What the step that made a table last said under one word of its metadata, by "<source>/<outcome>"."""
    import dagster as dg

    event = instance.get_latest_materialization_event(dg.AssetKey(table.split(".")))
    said = event.asset_materialization.metadata.get(word) if event and event.asset_materialization else None
    if not isinstance(said, dg.JsonMetadataValue) or not isinstance(said.value, dict):
        return {}
    return {str(name): str(text) for name, text in said.value.items()}


def _made(results: Sequence["JobExecutionResult"], table: str) -> bool:
    events = (event for result in results for event in result.all_events)
    keys = (event.asset_key for event in events if event.is_step_materialization)
    return any(key is not None and ".".join(key.path) == table for key in keys)


def _snapshot(settings: Settings) -> str | None:
    """Name of the published snapshot, by the link that readers follow; None: nothing is published."""
    current = settings.published_dir / "current"
    return current.readlink().name if current.is_symlink() else None


def _what_stands(settings: Settings, source: "Source", before: str | None) -> str:
    """What a run that is stopped leaves, and how to go on; `before`: the snapshot from before it."""
    from dagster_project.ingest.ledger import Ledger

    now = _snapshot(settings)
    if now is None:
        published = "Nothing is published yet"
    elif now == before:
        published = f"The published snapshot {now} is as it was"
    else:
        published = f"Snapshot {now} had been published by then"
    files = [file for file in Ledger(settings).files(source.contract, source=source.name) if file.status == "loaded"]
    rows = sum(file.accepted for file in files)
    loaded = f"what was loaded stays loaded ({rows:,} rows from {len(files)} files of source {source.name})"
    return f"{published}; {loaded}.\nThe same command goes on from there."


def _step_seconds(results: Sequence["JobExecutionResult"]) -> dict[str, float]:
    """Seconds of the steps of runs, tables of a schema together, in the order in which they began."""
    seconds: dict[str, float] = {}
    for event in (event for result in results for event in result.all_events):
        if event.is_step_success and event.step_key:
            name = event.step_key.partition("__")[0]
            name = "expectations" if name.startswith("expectations_") else name
            seconds[name] = seconds.get(name, 0.0) + event.step_success_data.duration_ms / 1000
    return seconds
