"""When runs start, for which days, and what happens to the sensor's cursor."""

import json
import os
import stat
import time
from dataclasses import replace
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.defs import automation
from dagster_project.defs.partitions import (
    ERASURES_TAG,
    EVENT_MONTHS,
    LANDING_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    days_of_run,
    event_days,
    run_request_arguments,
)
from dagster_project.ingest.landing import landing_state
from dagster_project.ingest.ledger import FileRecord, Ledger
from dagster_project.ingest.requests import Erasure, Erasures
from dagster_project.ingest.sources import Source, register_source
from dagster_project.privacy.erasure.request import request_file
from dagster_project.store import accepted
from tests.unit.landing_files import PERSONAL, Bench

REPOSITORY = defs.get_repository_def()
SOURCE = Source("uni_a", "oulad", None)
LOADED = {"file_key": "k", "status": "loaded", "stored_hash": "s", "contract_hash": "c"}


@pytest.fixture
def landing(tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    write(folder / "courses.csv", "first")
    return folder


def write(path, text, seconds_ago=3600.0):
    path.write_text(text)
    at = time.time() - seconds_ago
    os.utime(path, (at, at))


def test_first_load_asks_for_the_time_that_the_contract_permits(settings):
    assert event_days(SOURCE, settings, date(2026, 1, 1)) == (date(2013, 1, 1), date(2015, 7, 31))


def test_first_load_never_asks_for_the_future(settings):
    assert event_days(SOURCE, settings, date(2014, 3, 1))[1] == date(2014, 3, 1)


@pytest.mark.parametrize(
    ("today", "last"),
    [(date(2014, 5, 9), date(2014, 5, 9)), (date(2026, 1, 1), date(2014, 6, 5))],
    ids=["until today", "a month at most"],
)
def test_later_load_asks_for_the_days_since_the_newest_event(settings, today, last):
    Ledger(settings).note(FileRecord("oulad", "studentVle", "uni_a", "f.csv", **LOADED, last_date=date(2014, 5, 5)))
    assert event_days(SOURCE, settings, today) == (date(2014, 5, 5), last)


def test_run_asks_dagster_for_months_and_rebuilds_days(settings):
    Ledger(settings).note(FileRecord("oulad", "studentVle", "uni_a", "f.csv", **LOADED, last_date=date(2014, 5, 5)))
    tags = run_request_arguments(SOURCE, settings, date(2014, 6, 9))["tags"]
    months = tags[RANGE_START_TAG], tags[RANGE_END_TAG]
    assert months == ("2014-05", "2014-06")
    assert all(EVENT_MONTHS.has_partition_key(month) for month in months)
    assert days_of_run(tags) == (date(2014, 5, 5), date(2014, 6, 5))


@pytest.mark.parametrize(
    ("tags", "days"),
    [
        ({"dagster/partition": "2014-02"}, (date(2014, 2, 1), date(2014, 2, 28))),
        (
            {RANGE_START_TAG: "2013-12", RANGE_END_TAG: "2014-02"},
            (date(2013, 12, 1), date(2014, 2, 28)),
        ),
        ({}, (None, None)),
    ],
    ids=["one month", "range of months", "no partitions"],
)
def test_months_chosen_in_the_ui_are_rebuilt_whole(tags, days):
    assert days_of_run(tags) == days


def test_state_changes_with_the_files(landing):
    before = landing_state(landing)
    write(landing / "vle.csv", "more")
    assert landing_state(landing) != before


class Ticks:
    """A sensor, evaluated again and again on one instance."""

    def __init__(self, instance, sensor=automation.landing):
        self.instance = instance
        self.sensor = sensor
        self.cursor = None

    def tick(self) -> list[dg.RunRequest]:
        result = self.sensor(
            dg.build_sensor_context(instance=self.instance, cursor=self.cursor, repository_def=REPOSITORY)
        )
        if isinstance(result, dg.SkipReason):
            return []
        self.cursor = result.cursor
        return list(result.run_requests or [])

    def settled(self) -> list[dg.RunRequest]:
        """What is asked for at the second look."""
        self.tick()
        return self.tick()

    def end_run(self, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str) -> None:
        job = dg.GraphDefinition(name=request.job_name).to_job()
        self.instance.create_run_for_job(job, status=status, tags={**request.tags, **tags})


@pytest.fixture
def ticks(settings, landing, monkeypatch):
    # Two looks follow each other at once; a clock of the files is for the tests that say so.
    monkeypatch.setattr(automation, "SETTLED_SECONDS", 0)
    register_source(settings, Source("uni_a", "oulad", landing), ["oulad"])
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(instance)


def test_new_files_start_a_run_of_their_source(ticks):
    (request,) = ticks.settled()
    assert request.job_name == "run_oulad"
    assert request.run_config["resources"]["warehouse"]["config"] == {"source": "uni_a"}


def test_a_file_that_is_still_being_written_starts_nothing(ticks, landing):
    for text in ("half", "half a", "half a li"):
        write(landing / "vle.csv", text)
        assert not ticks.tick()
    assert len(ticks.tick()) == 1


def test_two_looks_at_the_same_files_must_lie_apart(ticks, monkeypatch):
    monkeypatch.setattr(automation, "SETTLED_SECONDS", 1)
    assert not ticks.settled()
    time.sleep(1.1)
    assert len(ticks.tick()) == 1


@pytest.mark.parametrize("seconds_ago", [-86400 * 365, 0, 86400 * 365], ids=["in a year", "as of now", "a year ago"])
def test_a_file_is_loaded_whatever_time_it_is_dated(ticks, landing, seconds_ago):
    write(landing / "vle.csv", "all", seconds_ago)
    assert len(ticks.settled()) == 1


def test_a_clock_that_was_set_back_keeps_nothing_waiting(ticks, monkeypatch):
    monkeypatch.setattr(automation, "SETTLED_SECONDS", 60)
    ticks.tick()
    now = time.time()
    monkeypatch.setattr(automation.clock, "timestamp", lambda: now - 86400)
    assert len(ticks.tick()) == 1


def test_success_ends_it(ticks):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.SUCCESS)
    assert not ticks.settled()
    assert not ticks.settled()


def test_what_was_loaded_is_known_without_its_run_and_without_the_cursor(ticks):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.SUCCESS)
    ticks.cursor = None
    assert not ticks.settled()
    for record in ticks.instance.get_run_records():
        ticks.instance.delete_run(record.dagster_run.run_id)
    assert not ticks.settled()


def test_a_cursor_of_another_form_is_begun_anew(ticks):
    (request,) = ticks.settled()
    ticks.cursor = json.dumps({"uni_a": request.tags[LANDING_TAG]})
    assert len(ticks.settled()) == 1


def test_nothing_is_asked_for_while_a_run_goes_on(ticks):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.STARTED)
    assert not ticks.settled()


def test_a_failed_run_is_asked_for_again_but_not_for_ever(ticks):
    keys = []
    ticks.tick()
    for _ in range(automation.ATTEMPTS):
        (request,) = ticks.tick()
        keys.append(request.run_key)
        ticks.end_run(request, dg.DagsterRunStatus.FAILURE)
    assert len(set(keys)) == automation.ATTEMPTS
    assert not ticks.tick()


def test_new_files_after_a_failure_are_tried(ticks, landing):
    ticks.tick()
    for _ in range(automation.ATTEMPTS):
        ticks.end_run(ticks.tick()[0], dg.DagsterRunStatus.FAILURE)
    write(landing / "vle.csv", "mended")
    assert len(ticks.settled()) == 1


def test_what_somebody_stopped_is_not_started_again_until_the_files_change(ticks, landing):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.CANCELED)
    assert not ticks.settled()
    write(landing / "vle.csv", "more")
    assert len(ticks.settled()) == 1


def test_what_somebody_stopped_at_its_second_attempt_is_not_started_again(ticks):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.FAILURE)
    (request,) = ticks.tick()
    ticks.end_run(request, dg.DagsterRunStatus.CANCELED)
    assert not ticks.tick()


def test_a_run_that_dagster_is_about_to_start_again_is_not_started_twice(ticks):
    (request,) = ticks.settled()
    ticks.end_run(request, dg.DagsterRunStatus.FAILURE, **{"dagster/will_retry": "true"})
    assert not ticks.tick()


def test_what_failed_again_after_dagster_had_started_it_again_is_asked_for(ticks):
    (request,) = ticks.settled()
    retried = {"dagster/will_retry": "true", "dagster/auto_retry_run_id": "another"}
    ticks.end_run(request, dg.DagsterRunStatus.FAILURE, **retried)
    ticks.end_run(request, dg.DagsterRunStatus.FAILURE, **{"dagster/will_retry": "false"})
    assert len(ticks.tick()) == 1


def test_daily_schedule_rebuilds_yesterday_and_not_its_whole_month(settings):
    night = datetime(2026, 1, 2, 3, tzinfo=UTC)
    request = automation.daily(dg.build_schedule_context(repository_def=REPOSITORY, scheduled_execution_time=night))
    assert request.partition_key == "2026-01"
    assert days_of_run(request.tags) == (date(2026, 1, 1), date(2026, 1, 1))


def test_where_nothing_is_new_the_schedule_says_so_and_asks_for_nothing(settings, monkeypatch):
    monkeypatch.setattr(automation, "selected", lambda *_: None)
    found = automation.daily(
        dg.build_schedule_context(
            repository_def=REPOSITORY, scheduled_execution_time=datetime(2026, 1, 2, 3, tzinfo=UTC)
        )
    )
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == automation.NOTHING_NEW


def test_files_that_bring_nothing_new_start_nothing_and_are_known(ticks, monkeypatch):
    monkeypatch.setattr(automation, "selected", lambda *_: None)
    ticks.tick()
    assert ticks.tick() == []
    assert json.loads(ticks.cursor)["loaded"]["uni_a"]


def test_a_run_is_asked_for_what_is_new_and_for_no_more(ticks):
    ticks.tick()
    (request,) = ticks.tick()
    chosen = {".".join(key.path) for key in request.asset_selection}
    assert "raw_oulad.courses" in chosen
    assert not {name for name in chosen if name.startswith("raw_campus.")}
    assert {check.asset_key for check in request.asset_check_keys} <= set(request.asset_selection)


@pytest.fixture
def asked(settings, landing):
    """Somebody of a source asked to be erased."""
    register_source(settings, Source("uni_a", "oulad", landing), ["oulad"])
    return Erasures(settings).save(Erasure("a1b2c3", "uni_a", "no personal data", "2026-01-01T00:00:00"))


def test_who_asks_to_be_erased_starts_a_run_of_his_source(settings, asked):
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, automation.erasures)
        (request,) = ticks.tick()
        assert (request.job_name, request.tags[ERASURES_TAG]) == ("run_oulad", "a1b2c3")
        Erasures(settings).save(replace(asked, stage="finished"))
        assert not ticks.tick()


def test_an_erasure_that_somebody_stopped_is_not_started_again_until_another_is_asked_for(settings, asked):
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, automation.erasures)
        ticks.end_run(ticks.tick()[0], dg.DagsterRunStatus.CANCELED)
        assert not ticks.tick()
        Erasures(settings).save(Erasure("d4e5f6", "uni_a", "nor here", "2026-01-02T00:00:00"))
        assert len(ticks.tick()) == 1


@pytest.fixture
def published(settings, landing, monkeypatch):
    """A publication that left something to do at noon, such as effects of drivers that wait for their week."""
    register_source(settings, Source("uni_a", "oulad", landing), ["oulad"])
    noon = datetime(2026, 11, 30, 12)
    current = settings.published_dir / "current"
    current.mkdir(parents=True)
    state = accepted.State("s1", "c", "s", {}, due=noon, due_reason="an analysis that waits for more data")
    accepted.write(settings, state)
    monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", "2026-11-30T12:00:00")
    return state


def test_what_is_due_starts_a_run_though_nothing_arrives(published):
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, automation.due)
        (request,) = ticks.tick()
        assert request.job_name == "run_oulad"
        ticks.end_run(request, dg.DagsterRunStatus.STARTED)
        assert not ticks.tick()


def test_nothing_is_started_before_it_is_due(published, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_CLOCK", "2026-11-30T11:59:59")
    with dg.DagsterInstance.ephemeral() as instance:
        assert not Ticks(instance, automation.due).tick()


def test_what_turns_out_not_to_be_due_is_noted_and_not_looked_for_again(published, settings, monkeypatch):
    """Such as a source that was to get old and whose files have come meanwhile: every look costs a plan."""
    monkeypatch.setattr(automation, "selected", lambda *_: None)
    noted = []
    monkeypatch.setattr(automation, "confirm", lambda _, settings: noted.append(settings.home))
    with dg.DagsterInstance.ephemeral() as instance:
        assert not Ticks(instance, automation.due).tick()
    assert noted == [settings.home]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A warehouse with learners in raw, on a contract of its own."""
    bench = Bench(tmp_path, PERSONAL)
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(bench.settings.home))
    monkeypatch.setitem(automation.CONTRACTS, "personal", bench.contract)
    bench.deliver("visits.csv", b"person,minutes\np-ann,1\np-bob,2\n")
    bench.load("visits")
    register_source(bench.settings, Source("here", "personal", bench.landing), ["personal"])
    return bench


def test_whom_to_erase_is_read_from_a_file_that_is_gone_then_and_told_to_no_run(bench):
    (pseudonym, *_), *_ = bench.rows("visits")
    file = request_file(bench.settings)
    file.write_text(f"here p-ann\n\nhere here:{pseudonym}\n")
    dagster_home = bench.settings.home / "dagster"
    dagster_home.mkdir()
    with dg.DagsterInstance.local_temp(str(dagster_home)) as instance:
        assert automation.erase_learner.execute_in_process(instance=instance).success
    assert not file.exists()
    (asked,) = Erasures(bench.settings).all()  # the same learner twice
    assert asked.stage == "asked"
    assert asked.landing in (("visits.csv",), ())
    for path in bench.settings.home.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            assert b"p-ann" not in path.read_bytes()
            assert pseudonym.encode() not in path.read_bytes()


def test_whom_nobody_knows_is_told_without_naming_him_and_stays_in_the_file(bench):
    file = request_file(bench.settings)
    file.write_text("here p-ann\nhere p-zoe\nelsewhere p-ann\n")
    with pytest.raises(dg.Failure) as error:
        automation.erase_learner.execute_in_process()
    assert "line 2: No learner of source here has that id" in error.value.description
    assert "line 3: Source 'elsewhere' is not known" in error.value.description
    assert "p-zoe" not in error.value.description
    assert file.read_text() == "here p-zoe\nelsewhere p-ann\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(Erasures(bench.settings).all()) == 1
    file.unlink()
    with pytest.raises(dg.Failure, match="Nobody is to be erased: write a line"):
        automation.erase_learner.execute_in_process()
