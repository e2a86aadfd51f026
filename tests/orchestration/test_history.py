"""The history of runs: what their events tell, as published tables and as a page."""

import re

import dagster as dg
import pytest

from dagster_project.base.locks import WriteLock
from dagster_project.base.memory import memory_watch
from dagster_project.defs.instance.history import (
    CONTRACTS,
    record_end,
    record_forgotten_runs,
    record_run,
    rows_of_run,
)
from dagster_project.report import pipeline_status
from dagster_project.report.page import About
from dagster_project.report.pages import write_page
from dagster_project.store.publish import make_snapshot_id, snapshot_time
from dagster_project.store.warehouse import Warehouse

FILES = dg.TableMetadataValue(
    [
        dg.TableRecord({"file": "new.csv", "status": "loaded", "rows": 90, "refused": 10}),
        dg.TableRecord({"file": "old.csv", "status": "unchanged", "rows": 500, "refused": 0}),
    ],
    schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in ("file", "status", "rows", "refused")]),
)


@dg.asset(key=["raw_campus", "events"])
def events():
    return dg.MaterializeResult(metadata={"dagster/row_count": 590, "files": FILES})


@dg.asset(key=["marts", "things"], deps=[events])
def things():
    return dg.MaterializeResult(metadata={"dagster/row_count": 60})


@dg.asset_check(asset=things, blocking=True)
def things_are_right():
    return dg.AssetCheckResult(passed=False, description="Mend <it>.", metadata={"unexpected rows": 7})


@dg.asset_check(asset=things)
def things_are_many():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="More of them.")


@dg.asset(key=["published", "learning_warehouse"], deps=[things])
def published():
    return 1


def run_of(instance, checks=()):
    definitions = dg.Definitions(
        assets=[events, things, published], asset_checks=checks, jobs=[dg.define_asset_job("job")]
    )
    job = definitions.resolve_job_def("job")
    return job.execute_in_process(
        instance=instance, raise_on_error=False, tags={"learning_warehouse/source": "uni_a"}
    ).run_id


@pytest.fixture
def instance():
    memory_watch()
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_run_tells_what_went_in_and_came_out(instance, settings):
    tables = rows_of_run(instance, run_of(instance), settings)
    (run,) = tables["ops.pipeline_status"].to_dict("records")
    expected = {"status": "published", "source": "uni_a", "loaded_file_count": 1, "loaded_row_count": 90}
    expected |= {"refused_row_count": 10, "raw_row_count": 590, "built_table_count": 1, "built_row_count": 60}
    assert {name: run[name] for name in expected} == expected
    assert run["ended_at"] > run["started_at"]
    assert run["peak_memory_mib"] > 50
    assert len(tables["ops.pipeline_steps"]) == 3


def test_a_failed_run_tells_its_checks_and_what_stopped_it(instance, settings):
    tables = rows_of_run(instance, run_of(instance, [things_are_right, things_are_many]), settings)
    (run,) = tables["ops.pipeline_status"].to_dict("records")
    assert (run["status"], run["failed_check_count"], run["warning_count"]) == ("failed", 1, 1)
    assert run["problem"] == "marts.things: things_are_right"
    checks = tables["ops.pipeline_checks"].set_index("check_name")
    assert checks.loc["things_are_right", "unexpected_row_count"] == 7
    assert checks["is_blocking"].to_dict() == {"things_are_right": True, "things_are_many": False}


def test_the_end_of_a_run_is_recorded_once_and_shown(instance, settings):
    run_id = run_of(instance, [things_are_right, things_are_many])
    for _ in range(2):
        assert record_end(instance, run_id, settings) is None
    assert Warehouse(settings).row_counts(list(CONTRACTS)) == {
        "ops.pipeline_status": 1,
        "ops.pipeline_steps": 4,
        "ops.pipeline_checks": 2,
    }
    html = (settings.pages_dir / "pipeline_status.html").read_text()
    for words in ("marts.things", "things are right", "Mend &lt;it&gt;.", "10 refused", "1 failed, 1 warned"):
        assert words in html
    assert "http" not in html


def test_data_docs_and_the_page_of_the_pipeline_have_one_count(instance, settings):
    assert record_end(instance, run_of(instance, [things_are_right, things_are_many]), settings) is None
    index, page = settings.data_docs_dir / "index.html", settings.pages_dir / "pipeline_status.html"
    assert index.exists()
    for words in ("<b>1 failed, 1 warned</b>", "things are many", "More of them."):
        assert words in index.read_text()
        assert words in page.read_text()
    # The next run has nothing to tell of, and what is of the one before goes.
    assert record_end(instance, run_of(instance), settings) is None
    for text in (index.read_text(), page.read_text()):
        assert "<b>0 failed, 0 warned</b>" in text
        assert "things are many" not in text


def test_the_first_snapshot_is_told_as_published_once_it_is(instance, settings):
    def publish():
        (settings.published_dir / "snapshots").mkdir(parents=True)
        (settings.published_dir / "current").symlink_to(f"snapshots/{make_snapshot_id()}")

    @dg.asset(key=["published", "learning_warehouse"])
    def first(context: dg.AssetExecutionContext):
        # As the page of the snapshot itself is written: just before it is one.
        record_run(context.instance, context.run_id, settings)
        write_page(pipeline_status, settings, About())
        pages.append((settings.pages_dir / "pipeline_status.html").read_text())
        publish()

    pages: list[str] = []
    run_id = dg.materialize([first], instance=instance).run_id
    assert record_end(instance, run_id, settings) is None
    pages.append((settings.pages_dir / "pipeline_status.html").read_text())
    assert "none before this one" in pages[0]
    assert re.search(r"<b>\d+ minutes</b>", pages[1])
    assert [text for text in pages if "none is published yet" in text] == []


def test_runs_that_ended_untold_are_recorded_by_the_next_one(instance, settings):
    untold = [run_of(instance), run_of(instance)]
    record_end(instance, untold[0], settings)
    record_forgotten_runs(instance, settings, but_for="the next one")
    recorded = Warehouse(settings).read("ops.pipeline_status")["run_id"]
    assert sorted(recorded) == sorted(untold)


def test_the_end_is_told_where_another_run_writes_already(instance, settings):
    run_id = run_of(instance)
    with WriteLock(settings, run_id="other", what="another run"):
        pass_on = record_end(instance, run_id, settings)
    assert "another run" in pass_on


def test_age_of_a_snapshot_is_in_its_id():
    assert snapshot_time("20261122T031732048Z-52e5313d") == pytest.approx(1795317452.048)
    assert snapshot_time(make_snapshot_id("x")) > 1.7e9
