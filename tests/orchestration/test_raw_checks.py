"""Checks of raw tables across landing, raw, quarantine and time."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import duckdb
import pytest

from dagster_project.contracts.source import Freshness
from dagster_project.defs.raw import checks
from dagster_project.ingest.sources import Source
from tests.unit.landing_files import EVENTS_HEADER, Bench, event_lines

DAYS = ["2024-03-01", "2024-03-02", "2024-03-02"]
BROKEN = b"x,no number,2024-03-01 10:00:00,,1.5\n"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("events/one.csv", EVENTS_HEADER + event_lines(DAYS) + BROKEN)
    bench.deliver("events/two.csv", EVENTS_HEADER + event_lines(["2024-03-02"], first=9))
    bench.deliver("learners-1.csv", b"learner_id,country\n1,DE\n2,FR\n")
    return bench


def checked(bench, table):
    """Results by name, after a load."""
    load = bench.load(table)
    sources = [Source("here", bench.contract.name, bench.landing)]
    found = checks.of_table(bench.contract, bench.contract.table(table), [load], sources, bench.settings)
    return {result.check_name: result for result in found}


def parquet_files(bench, table):
    return sorted((bench.settings.raw_dir / "tiny" / table / "source=here").rglob("*.parquet"))


def rewrite(path, where):
    duckdb.sql(f"copy (from '{path}' where {where}) to '{path}.new' (format parquet)")
    path.with_suffix(".parquet.new").replace(path)


def test_rows_balance_after_loads_of_every_kind(bench):
    assert checked(bench, "events")["rows_balance"].metadata["found"].value == {
        "here": {
            "records of landing": 5,
            "rows in raw": 4,
            "records refused": 1,
            "landing files": 2,
            "landing files out of balance": 0,
        }
    }
    bench.deliver("events/one.csv", EVENTS_HEADER + BROKEN + BROKEN)  # replaced, by refused rows only
    assert checked(bench, "events")["rows_balance"].passed
    assert checked(bench, "learners")["rows_balance"].passed
    bench.deliver("learners-2.csv", b"learner_id,country\n3,DE\nbad,FR\n")  # supersedes the first snapshot
    assert checked(bench, "learners")["rows_balance"].passed
    bench.deliver("learners-3.csv", b"learner_id,country\n")
    assert checked(bench, "learners")["rows_balance"].passed


@pytest.mark.parametrize("fault", ["row lost", "file lost", "file twice", "refused rows lost", "a stranger's file"])
def test_rows_that_are_lost_or_come_from_nowhere_after_the_load_stop_the_run(bench, fault):
    checked(bench, "events")
    first, *_, last = parquet_files(bench, "events")
    if fault == "row lost":
        rewrite(last, "_record > 2")
    elif fault == "file lost":
        last.unlink()
    elif fault == "file twice":
        (first.parent.with_name("event_date=2024-03-09")).mkdir()
        (first.parent.with_name("event_date=2024-03-09") / first.name).write_bytes(first.read_bytes())
    elif fault == "refused rows lost":
        next((bench.settings.quarantine_dir / "tiny" / "events" / "source=here").glob("*.parquet")).unlink()
    else:
        first.with_name("stranger.parquet").write_bytes(first.read_bytes())
    result = checked(bench, "events")["rows_balance"]
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert result.metadata["unexpected rows"].value >= 1
    assert "records" in result.description


def test_what_the_message_advises_puts_the_rows_back(bench):
    import shutil

    checked(bench, "events")
    rows = bench.rows("events")
    parquet_files(bench, "events")[0].unlink()
    assert not checked(bench, "events")["rows_balance"].passed
    shutil.rmtree(bench.settings.raw_dir)
    shutil.rmtree(bench.settings.quarantine_dir)
    assert checked(bench, "events")["rows_balance"].passed
    assert bench.rows("events") == rows


def test_a_week_with_hardly_a_row_warns_and_says_of_which_source():
    weeks = [100] * 7 * 10
    result = checks.volume_is_usual({"uni_a": [*weeks, 100], "uni_b": [*weeks[:-7], *[2] * 7, 1]})
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description.startswith("uni_b: 14 rows in a week, 700 are usual.")
    assert checks.volume_is_usual({"uni_a": [*weeks, 100], "uni_c": [5, 5]}).passed


def test_the_volume_is_that_of_the_rows_in_raw(bench):
    found = checked(bench, "events")["volume_is_usual"].metadata["found"].value
    assert found == {"here": {"rows in the last week": 0, "not judged": "it is the week 0 of a new source"}}
    start = date(2024, 3, 3)
    days = [(start + timedelta(days=day)).isoformat() for day in range(7 * 9) for _ in range(20)]
    bench.deliver("events/three.csv", EVENTS_HEADER + event_lines([*days, "2024-05-07"], first=100))
    assert not checked(bench, "events")["volume_is_usual"].passed  # 3 to 5 May 20 a day, then two days none


@pytest.mark.parametrize(
    ("days_old", "passed", "severity"),
    [(2, True, "WARN"), (4, False, "WARN"), (11, False, "ERROR"), (None, False, "ERROR"), (-1, True, "WARN")],
)
def test_an_old_source_warns_and_a_very_old_one_stops_the_run(bench, days_old, passed, severity):
    now = datetime(2024, 6, 1)
    limits = Freshness(timedelta(days=3), timedelta(days=10))
    table = replace(bench.contract.table("events"), freshness=limits)
    newest = None if days_old is None else now - timedelta(days=days_old)
    result = checks.source_is_fresh(table, {"here": newest, "there": now}, now)
    assert (result.passed, result.severity.value) == (passed, severity)
    if not passed:
        assert "here: " in result.description
        assert "there" not in result.description


def test_freshness_is_of_the_newest_event_or_delivery(bench):
    week = Freshness(timedelta(days=7))
    tables = tuple(replace(table, freshness=week) for table in bench.contract.tables)
    bench.contract = replace(bench.contract, tables=tables)
    learners = checked(bench, "learners")["source_is_fresh"]
    assert learners.passed
    events = checked(bench, "events")["source_is_fresh"]
    assert events.metadata["found"].value["here"]["newest"].startswith("2024-03-02")
    assert (events.passed, events.severity) == (False, dg.AssetCheckSeverity.WARN)
    future = (datetime.now(UTC) + timedelta(days=900)).date().isoformat()
    tables = tuple(replace(table, time_range=type(table.time_range)()) for table in tables)
    bench.contract = replace(bench.contract, tables=tables)
    bench.deliver("events/clock.csv", EVENTS_HEADER + event_lines([future], first=50))
    assert not checked(bench, "events")["source_is_fresh"].passed


def test_results_are_those_that_the_specs_promise(bench):
    for table in ("events", "learners"):
        names = [spec.name for spec in checks.specs(bench.contract, bench.contract.table(table))]
        assert list(checked(bench, table)) == names
