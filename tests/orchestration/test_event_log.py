"""The event log with an open connection: the same files as Dagster's own, also after an error."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from dagster_project.defs.instance import event_log
from dagster_project.defs.instance.event_log import EventLog
from dagster_project.settings import REPOSITORY


@dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="some")])
def some() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="holds")])


class FullDiskError(Exception):
    """What an event meets."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An instance with our event log, and the id of a run in it."""
    folder = tmp_path_factory.mktemp("dagster")
    shutil.copy(REPOSITORY / "dagster_project" / "dagster.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        with dg.DagsterInstance.get() as instance:
            yield instance, dg.materialize([some], instance=instance).run_id


def types(entries) -> list[dg.DagsterEventType]:
    return [entry.dagster_event.event_type for entry in entries if entry.is_dagster_event]


def test_what_a_run_logs_is_what_dagsters_own_storage_reads(run):
    instance, run_id = run
    assert isinstance(instance.event_log_storage, EventLog)
    own = SqliteEventLogStorage(str(Path(os.environ["DAGSTER_HOME"], "history", "runs")))
    assert types(own.get_logs_for_run(run_id)) == types(instance.all_logs(run_id))
    assert dg.DagsterEventType.RUN_SUCCESS in types(own.get_logs_for_run(run_id))
    assert own.get_latest_materialization_events([dg.AssetKey("some")])[dg.AssetKey("some")].run_id == run_id


def test_the_ui_sees_that_something_was_logged(run):
    instance, run_id = run
    file = Path(instance.event_log_storage.path_for_shard(run_id))
    before = file.stat().st_mtime_ns
    instance.report_engine_event("something", run_id=run_id, job_name="job")
    assert file.stat().st_mtime_ns > before


def test_an_error_leaves_nothing_behind_and_the_next_event_is_logged(run):
    instance, run_id = run
    count = len(instance.all_logs(run_id))

    def fail_halfway() -> None:
        with instance.event_log_storage.run_connection(run_id) as connection:
            connection.execute(sqlalchemy.text("delete from event_logs"))
            raise FullDiskError

    with pytest.raises(FullDiskError):
        fail_halfway()
    assert len(instance.all_logs(run_id)) == count
    instance.report_engine_event("something", run_id=run_id, job_name="job")
    assert len(instance.all_logs(run_id)) == count + 1


def test_few_files_stay_open(run, monkeypatch):
    instance, run_id = run
    monkeypatch.setattr(event_log, "KEPT", 2)
    storage = instance.event_log_storage
    for shard in (run_id, "another", "another"):
        storage.get_logs_for_run(shard)
    assert list(storage._engines) == ["index", "another"]


@pytest.fixture
def statements():
    """Every SQL statement of this process from here on."""
    seen = []

    def note(connection, cursor, statement, *_) -> None:
        seen.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def wait_until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def test_an_open_page_of_a_run_is_told_of_an_event_once_and_then_costs_nothing(run, statements):
    instance, run_id = run
    told = []

    def tell(entry, cursor) -> None:
        told.append(entry.dagster_event.message)

    instance.watch_event_logs(run_id, instance.get_records_for_run(run_id).cursor, tell)
    try:
        statements.clear()
        instance.report_engine_event("something", run_id=run_id, job_name="job")
        wait_until(lambda: told)
        time.sleep(2)
    finally:
        instance.end_watch_event_logs(run_id, tell)
    assert told == ["something"]
    assert len(statements) <= 4


def test_looking_at_a_run_leaves_its_file_alone(run):
    instance, run_id = run
    file = Path(instance.event_log_storage.path_for_shard(run_id))
    instance.all_logs(run_id)
    before = file.stat().st_mtime_ns
    instance.all_logs(run_id)
    instance.get_run_stats(run_id)
    assert file.stat().st_mtime_ns == before


def test_a_page_that_was_open_before_the_first_event_of_another_process_is_told_of_it(run):
    instance, _ = run
    new = "11111111-1111-4111-8111-111111111111"
    told = []

    def tell(entry, cursor) -> None:
        told.append(entry.dagster_event.message)

    instance.get_records_for_run(new)
    instance.watch_event_logs(new, instance.get_records_for_run(new).cursor, tell)
    try:
        code = (
            "import dagster as dg\n"
            "with dg.DagsterInstance.get() as instance:\n"
            f"    instance.report_engine_event('first', run_id='{new}', job_name='job')\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
        wait_until(lambda: told)
    finally:
        instance.end_watch_event_logs(new, tell)
    assert told == ["first"]
