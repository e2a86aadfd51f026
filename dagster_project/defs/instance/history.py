"""What the events of a run tell of it, as rows of schema ops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import duckdb

from dagster_project.analyses.quality.suite import read_suites
from dagster_project.base.errors import StoreError
from dagster_project.base.locks import WriteLock
from dagster_project.base.memory import memory_watch
from dagster_project.contracts.in_use import CONTRACTS as IN_USE
from dagster_project.contracts.tables import OPS_CONTRACTS, read_contracts
from dagster_project.defs.instance.failures import is_blocking, problem_of_check, problem_of_step
from dagster_project.ingest.source_state import source_states
from dagster_project.report import pipeline_status as page
from dagster_project.report.alert import Problem
from dagster_project.report.data_docs import LastRun, write_index
from dagster_project.report.page import About, records
from dagster_project.report.pages import write_page
from dagster_project.settings import Settings
from dagster_project.store.publish import snapshot_time
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd

CONTRACTS = {name: x for name, x in read_contracts(OPS_CONTRACTS).items() if x.is_published}
LOOKED_BACK = 20
MIB = 2**20
UNFINISHED = "publishing"
_STEPS = {
    dg.DagsterEventType.STEP_START: "unfinished",
    dg.DagsterEventType.STEP_SUCCESS: "success",
    dg.DagsterEventType.STEP_FAILURE: "failed",
}
_EVENTS = {*_STEPS, dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.ASSET_MATERIALIZATION}
_BUILT = ("core", "marts", "analytics", "reporting", "learners")


def record_run(instance: dg.DagsterInstance, run_id: str, settings: Settings) -> None:
    """Write what is known of a run into the tables of schema ops; again later replaces it. Needs the write lock.

    Raises:
        StoreError: the build database cannot be written.
    """
    for table, rows in rows_of_run(instance, run_id, settings).items():
        Warehouse(settings).append(table, rows, CONTRACTS[table], run_id)


def record_forgotten_runs(instance: dg.DagsterInstance, settings: Settings, but_for: str) -> None:
    """Record the last runs whose end nobody recorded: those of the UI and its daemon, and those that were killed."""
    warehouse = Warehouse(settings)
    warehouse.restore(list(CONTRACTS.values()))
    ended = set(warehouse.read("ops.pipeline_status", ["run_id"], "ended_at is not null")["run_id"])
    over = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    )
    for record in instance.get_run_records(over, limit=LOOKED_BACK):
        run_id = record.dagster_run.run_id
        if run_id not in ended and run_id != but_for:
            record_run(instance, run_id, settings)


def record_end(instance: dg.DagsterInstance, run_id: str, settings: Settings) -> str | None:
    """Record a run that has ended, and make the page of all runs and the index of Data Docs anew with its counts.

    Returns:
        Why that was not possible, if so; the next run then does it.
    """
    try:
        now = settings.model_copy(update={"lock_timeout_seconds": 0.0})
        with WriteLock(now, run_id=f"{run_id}-end", what="recording the end of a run"):
            record_run(instance, run_id, settings)
            about = About.of(source_states(IN_USE, settings), settings)
            write_page(page, settings, about)
            suites = {f"{suite.schema}.{suite.table}" for suite in read_suites()}
            write_index(settings, suites, about, _last_run(settings, run_id))
    except (StoreError, duckdb.Error, OSError) as error:
        return f"The history of runs was not brought up to date: {error}"
    return None


def _last_run(settings: Settings, run_id: str) -> LastRun:
    """The count of a recorded run: of the rows that the page of the pipeline shows."""
    warehouse = Warehouse(settings)
    (run,) = records(warehouse.read("ops.pipeline_status", where="run_id = ?", parameters=[run_id]))
    broken = warehouse.read("ops.pipeline_checks", where="run_id = ? and not is_passed", parameters=[run_id])
    broken = broken.sort_values(["is_blocking", "table_name", "check_name"], ascending=[False, True, True])
    return LastRun(run["check_count"], run["failed_check_count"], run["warning_count"], records(broken))


def rows_of_run(instance: dg.DagsterInstance, run_id: str, settings: Settings) -> dict[str, pd.DataFrame]:
    """Rows of the tables of schema ops by table."""
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise ValueError(f"Dagster knows no run {run_id}")
    steps: dict[str, dict] = {}
    checks: list[dict] = []
    made: dict[dg.AssetKey, dict] = {}
    problems: list[Problem] = []
    for entry in instance.all_logs(run_id, of_type=_EVENTS):
        event = entry.get_dagster_event()
        if event.event_type in _STEPS and event.step_key:
            step = steps.setdefault(event.step_key, {"start": entry.timestamp})
            step |= {"end": entry.timestamp, "status": _STEPS[event.event_type]}
            problems += problem_of_step(event)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            found = problem_of_check(check)
            problems += [found] if is_blocking(check) and not check.passed else []
            checks.append(_check(check, found))
        elif event.asset_key:
            made[event.asset_key] = {
                name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
            }
    start = record.start_time or min((step["start"] for step in steps.values()), default=None)
    status = _status(record.dagster_run.status, made)
    end = record.end_time if status != UNFINISHED else None
    until = end or datetime.now(UTC).timestamp()
    run = {
        "job_name": record.dagster_run.job_name,
        "source": record.dagster_run.tags.get("learning_warehouse/source"),
        "status": status,
        "started_at": _time(start),
        "ended_at": _time(end),
        "duration_seconds": until - start if start else None,
        "peak_memory_mib": _memory(start, until),
        **_rows(made),
        "check_count": len(checks),
        "failed_check_count": sum(not check["is_passed"] and check["is_blocking"] for check in checks),
        "warning_count": sum(not check["is_passed"] and not check["is_blocking"] for check in checks),
        **_snapshot(settings, until),
        # Not the error itself: an engine's words may repeat a value of a row, and the table is published.
        "problem": problems[0].where if problems else None,
    }
    of_steps = [
        {
            "step": name,
            "status": step["status"],
            "started_at": _time(step["start"]),
            "duration_seconds": step["end"] - step["start"],
            "peak_memory_mib": _memory(step["start"], step["end"]),
        }
        for name, step in steps.items()
    ]
    return {
        "ops.pipeline_status": _frame("ops.pipeline_status", run_id, [run]),
        "ops.pipeline_steps": _frame("ops.pipeline_steps", run_id, of_steps),
        "ops.pipeline_checks": _frame("ops.pipeline_checks", run_id, checks),
    }


def _check(check: dg.AssetCheckEvaluation, found: Problem) -> dict:
    return {
        "table_name": ".".join(check.asset_key.path),
        "check_name": check.check_name,
        "is_passed": check.passed,
        "is_blocking": is_blocking(check),
        "unexpected_row_count": None if check.passed else found.rows,
        "finding": None if check.passed else found.found[:1000],
    }


def _status(status: dg.DagsterRunStatus, made: dict[dg.AssetKey, dict]) -> str:
    if status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        return "failed"
    if status != dg.DagsterRunStatus.SUCCESS:
        return UNFINISHED
    return "published" if any(key.path[0] == "published" for key in made) else "ended"


def _rows(made: dict[dg.AssetKey, dict]) -> dict[str, int]:
    raw = [metadata for key, metadata in made.items() if key.path[0].startswith("raw_")]
    files = [file.data for metadata in raw for file in metadata["files"].records if file.data["status"] == "loaded"]
    built = [metadata for key, metadata in made.items() if key.path[0] in _BUILT]
    return {
        "loaded_file_count": len(files),
        "loaded_row_count": sum(file["rows"] for file in files),
        "refused_row_count": sum(file["refused"] for file in files),
        "raw_row_count": sum(metadata.get("dagster/row_count") or 0 for metadata in raw),
        "built_table_count": len(built),
        "built_row_count": sum(metadata.get("dagster/row_count") or 0 for metadata in built),
    }


def _snapshot(settings: Settings, now: float) -> dict:
    current = settings.published_dir / "current"
    if not current.is_symlink():
        return {"snapshot_id": None, "snapshot_age_hours": None}
    snapshot = current.readlink().name
    return {"snapshot_id": snapshot, "snapshot_age_hours": max(0.0, now - snapshot_time(snapshot)) / 3600}


def _memory(start: float | None, end: float) -> float | None:
    return memory_watch().peak(start, end) / MIB or None if start else None


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds else None


def _frame(table: str, run_id: str, rows: Sequence[dict]) -> pd.DataFrame:
    import pandas as pd

    columns = [column.name for column in CONTRACTS[table].columns]
    return pd.DataFrame([{"run_id": run_id, **row} for row in rows], columns=columns).convert_dtypes()
