"""Why a run failed, from its events: the same for the terminal, the alert and the history of runs."""

import os
import re
from collections.abc import Sequence
from typing import Any

import dagster as dg

from dagster_project.defs.instance.progress import reason_of
from dagster_project.defs.partitions import SOURCE_TAG
from dagster_project.report.alert import Problem, alert_text
from dagster_project.report.outbox import Alert, keep, send_unkept, send_waiting, writing_alerts
from dagster_project.settings import Settings

ALERTED_TAG = "learning_warehouse/alerted"


EVENT_TYPES = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
}
# Where the metadata of checks say how many rows broke a rule, and where these are.
ROW_COUNTS = ("unexpected rows", "dagster_dbt/failed_row_count", "refused rows")
PLACES = ("kept in", "quarantine", "query")
# What an alert may say, which leaves the machine: folders of the warehouse, and words older than the data.
FOLDERS = ("kept in", "quarantine", "data docs")
REMEDY = "what to do"


def problems_of(instance: dg.DagsterInstance, run_id: str) -> tuple[list[Problem], int]:
    """What stopped a run, and how many tables and pages it did not make because of it.

    A step that failed because its blocking checks did says nothing that these checks do not.
    """
    problems, planned, made = [], set(), set()
    for entry in instance.all_logs(run_id, of_type=EVENT_TYPES):
        event = entry.get_dagster_event()
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and is_blocking(check):
                problems.append(problem_of_check(check))
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            problems += problem_of_step(event)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            planned.add(event.asset_key)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            made.add(event.asset_key)
    return problems, len(planned - made)


def is_blocking(check: dg.AssetCheckEvaluation) -> bool:
    """Whether a check stops the run when it fails; one that is blocking by its spec may warn by its result."""
    return bool(check.blocking) and check.severity == dg.AssetCheckSeverity.ERROR


def problem_of_step(event: dg.DagsterEvent) -> list[Problem]:
    """Why a step failed; nothing for a step that did not, or did because its checks failed."""
    if event.event_type != dg.DagsterEventType.STEP_FAILURE:
        return []
    error = event.step_failure_data.error
    if error and error.cls_name == "DagsterAssetCheckFailedError":
        return []
    return [Problem(event.step_key or event.job_name, reason_of(event.step_failure_data), cause=_cause(error))]


def problem_of_check(check: dg.AssetCheckEvaluation) -> Problem:
    """What a check found, in words that it or its metadata give."""
    metadata: dict[str, Any] = {name: value.value for name, value in check.metadata.items()}
    rows = next((int(metadata[name]) for name in ROW_COUNTS if metadata.get(name) is not None), None)
    place = next((str(metadata[name]) for name in PLACES if metadata.get(name)), None)
    return Problem(
        where=f"{'.'.join(check.asset_key.path)}: {check.check_name}",
        found=check.description or _found(metadata) or "The check failed; its metadata in the UI say why (make ui).",
        rows=rows,
        look=" ".join(place.replace("```sql", "").replace("```", "").split()) if place else None,
        remedy=str(metadata[REMEDY]) if metadata.get(REMEDY) else None,
        folder=next(
            (value.path for name in FOLDERS if isinstance(value := check.metadata.get(name), dg.PathMetadataValue)),
            None,
        ),
    )


def _cause(error) -> str | None:
    """The kind of an error: the name of its class, and the machine's own word for a fault of it.

    Not its message, which may repeat what it stumbled over. The number of a fault is taken from there, its word is not.
    """
    if error is None:
        return None
    while error.cause:
        error = error.cause
    number = re.match(r"\[Errno (\d{1,3})\]", error.message.partition(": ")[2])
    words = f": {os.strerror(int(number[1]))}" if number else ""
    return f"it ended with {error.cls_name or 'an error'}{words}"


def _found(metadata: dict) -> str | None:
    """What checks without a description found, as far as it can be read."""
    found = metadata.get("found") or metadata.get("dagster_dbt/compiled_sql")
    return str(found)[:500] if found else None


def alert(
    instance: dg.DagsterInstance, run_id: str, settings: Settings, problems: Sequence[Problem], not_made: int
) -> list[str]:
    """Tell the addresses of the settings of a failed run, once; returns what could not be sent, as sentences.

    Both the process that ran it and the sensor, where it is on, come to know of the failure. The alert lies in the
    outbox before it is sent, and stays there until every address has accepted it.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.tags.get(ALERTED_TAG) == run_id or not settings.alert_addresses:
        return []
    subject = f"learning-warehouse: run {run_id[:8]} of {run.tags.get(SOURCE_TAG) or run.job_name} failed"
    message = Alert(run_id, subject, alert_text(settings, problems, not_made))
    try:
        with writing_alerts(settings):
            run = instance.get_run_by_id(run_id)  # another process may have told it meanwhile
            if run and run.tags.get(ALERTED_TAG) != run_id:
                keep(settings, message)
                # Its own id: a run that is started again gets the tags of the first one.
                instance.add_run_tags(run_id, {ALERTED_TAG: run_id})
    except OSError:  # a full disk is a reason to fail, and must not keep that from being told
        return send_unkept(settings, message)
    return send_waiting(settings)
