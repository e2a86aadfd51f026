"""What is tried again, what is not, and who may write."""

import subprocess
import sys

import dagster as dg
import duckdb
import pytest

from dagster_project.base.errors import StoreError, WarehouseBusyError
from dagster_project.base.locks import WriteLock
from dagster_project.defs import resources
from dagster_project.defs.resources import WarehouseResource
from dagster_project.ingest.sources import Source, register_source
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse


def run_asset(error: Exception | None) -> tuple[dg.ExecuteInProcessResult, int]:
    """Materialize an asset that writes and raises; with the number of attempts."""
    attempts = []

    @dg.asset
    def table(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with warehouse.writing(context):
            attempts.append(1)
            if error:
                raise error

    result = dg.materialize([table], resources={"warehouse": WarehouseResource()}, raise_on_error=False)
    return result, len(attempts)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(resources, "RETRY_WAIT_SECONDS", 0)


@pytest.mark.parametrize("error", [WarehouseBusyError("held"), duckdb.IOException("disk"), OSError("disk")])
def test_busy_files_and_disks_are_tried_again(settings, error):
    result, attempts = run_asset(error)
    assert not result.success
    assert attempts == 1 + resources.RETRIES


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), StoreError("no such table"), duckdb.BinderException("no column")]
)
def test_what_would_fail_again_is_not(settings, error):
    result, attempts = run_asset(error)
    assert not result.success
    assert attempts == 1


def test_the_reason_reaches_the_user(settings):
    result, _ = run_asset(StoreError("Table marts.x is not in the build database"))
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    assert failure.step_failure_data.user_failure_data.description == "Table marts.x is not in the build database"


def test_a_second_writer_waits_and_is_told_for_whom(settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS", "0.2")
    with WriteLock(settings, run_id="first", what="make run SOURCE=uni_a"):
        result, attempts = run_asset(None)
    assert not result.success
    assert attempts == 0
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    assert "make run SOURCE=uni_a" in str(failure.step_failure_data.error)


def test_the_lock_is_free_after_the_run(settings):
    assert run_asset(None)[0].success
    assert run_asset(None)[0].success


def test_the_lock_is_held_from_the_first_write_to_the_end_of_the_run(settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS", "0")
    seen = []

    @dg.asset
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with warehouse.writing(context):
            pass

    @dg.asset(deps=[load])
    def between(warehouse: WarehouseResource):
        with pytest.raises(WarehouseBusyError):
            WriteLock(warehouse.settings, run_id="other", what="another run").acquire()
        seen.append("refused")

    assert dg.materialize([load, between], resources={"warehouse": WarehouseResource()}).success
    assert seen == ["refused"]


def make_daily_summary(settings):
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("create schema intermediate; create table intermediate.int_events_summarized (i integer)")


def test_a_deleted_build_database_is_built_whole_and_not_by_its_newest_days(settings, tmp_path):
    """The ledger's marks are cleared by then: a window would bring back a month of the history."""
    register_source(settings, Source("uni_a", "oulad", tmp_path), ["oulad"])
    make_daily_summary(settings)
    assert WarehouseResource().rebuild == {"uni_a": {"from": None, "to": None, "dates": []}}
    settings.build_database.unlink()
    assert WarehouseResource().rebuild is None


def test_what_a_run_rebuilds_is_decided_once(settings):
    warehouse = WarehouseResource()
    assert warehouse.rebuild is None
    make_daily_summary(settings)
    assert warehouse.rebuild is None


def test_what_a_killed_run_left_in_the_temporary_folder_goes(settings):
    leftover = settings.temp_dir / "dbt-dead"
    leftover.mkdir(parents=True)
    (leftover / "manifest.json").write_text("{}")
    assert run_asset(None)[0].success
    assert list(settings.temp_dir.iterdir()) == []


def test_a_run_waits_until_nobody_has_the_build_database_open(settings):
    """As after a kill of the run alone: its dbt still writes."""
    make_daily_summary(settings)
    script = (
        "import duckdb, sys, time; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(1)"
    )
    command = [sys.executable, "-c", script, str(settings.build_database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        result, attempts = run_asset(None)
        assert other.poll() is not None
    assert result.success
    assert attempts == 1


def test_a_build_database_that_stays_open_elsewhere_is_an_error_that_names_it(settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS", "0.2")
    make_daily_summary(settings)
    script = "import duckdb, sys, time; connection = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    command = [sys.executable, "-c", script, str(settings.build_database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        told = []
        with pytest.raises(WarehouseBusyError, match=r"build\.duckdb is open in another process"):
            Warehouse(Settings()).wait_until_free(told.append)
        other.communicate("\n")
    assert len(told) == 1


def test_a_run_that_waited_in_vain_waits_no_second_time(settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS", "0.5")
    waits = []
    acquire = WriteLock.acquire
    monkeypatch.setattr(WriteLock, "acquire", lambda lock: (waits.append(lock), acquire(lock)))

    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource):
        with warehouse.writing(context):
            pass

    assets = [dg.asset(name=name)(load) for name in ("first", "second", "third")]
    with WriteLock(settings, run_id="other", what="another run"):
        waits.clear()
        result = dg.materialize(assets, resources={"warehouse": WarehouseResource()}, raise_on_error=False)
    failures = result.filter_events(lambda event: event.is_step_failure)
    assert len(failures) == 3
    assert all("another run" in failure.step_failure_data.user_failure_data.description for failure in failures)
    assert len(waits) == 1
