"""A failed run says on one screen what failed, and tells it once to every address of the settings, without the data."""

import json
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from dagster_project.defs import automation
from dagster_project.defs.instance import failures
from dagster_project.defs.instance.failures import problems_of
from dagster_project.report import outbox
from dagster_project.report.alert import failure_text
from dagster_project.report.outbox import Alert, keep, send_waiting
from dagster_project.settings import REPOSITORY, Settings
from tests.receivers import http_receiver, smtp_receiver

# What an engine would quote of a row that it stumbles over.
VALUE = "Zoë Planted-Person"


@dg.asset
def table():
    return 1


@dg.asset_check(asset=table, blocking=True)
def rows_are_right():
    return dg.AssetCheckResult(
        passed=False,
        description=f"12 of 3,000 values are negative, such as {VALUE}. Look at the windows.",
        metadata={
            "unexpected rows": 12,
            "query": dg.MetadataValue.md(f"```sql\nselect * from t where x = '{VALUE}'\n```"),
            "examples": dg.MetadataValue.json([VALUE]),
            "error": VALUE,
            "data docs": dg.MetadataValue.path("/warehouse/artifacts/data_docs/table.html"),
            "what to do": "Look at the windows of the exports.",
        },
    )


@dg.asset_check(asset=table, blocking=True)
def rows_are_alike():
    return dg.AssetCheckResult(passed=False, metadata={"found": dg.MetadataValue.json([VALUE]), "kept in": VALUE})


@dg.asset_check(asset=table)
def rows_are_many():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(deps=[table])
def after_it():
    return 2


@dg.asset
def broken():
    raise dg.Failure("The disk is full: free some space", allow_retries=False)


@dg.asset
def quoting():
    raise ValueError(f"Could not convert string '{VALUE}' to INT32")


@dg.asset
def full():
    raise OSError(28, f"No space left on device for {VALUE}", f"/{VALUE}")


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(outbox, "SEND_SECONDS", 60)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def http():
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def told(settings, monkeypatch):
    """Makes settings whose alerts go to these addresses."""

    def settings_of(*addresses: str) -> Settings:
        monkeypatch.setenv("LEARNING_WAREHOUSE_ALERT_ADDRESSES", json.dumps(addresses))
        return Settings()

    return settings_of


def address_of(receiver, path: str = "T0KEN") -> str:
    # A minute to answer, however many others share the machine.
    return f"json://user:Passw0rd@127.0.0.1:{receiver.port}/{path}?cto=60&rto=60"


def run_of(instance, *assets, checks=(), tags=None):
    definitions = dg.Definitions(assets=assets, asset_checks=checks, jobs=[dg.define_asset_job("job")])
    return definitions.resolve_job_def("job").execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def alert(instance, run, settings) -> list[str]:
    return failures.alert(instance, run.run_id, settings, *problems_of(instance, run.run_id))


def waiting(settings) -> list:
    return sorted(settings.alerts_dir.glob("*.json"))


@pytest.fixture
def failed(instance):
    return run_of(instance, table, after_it, checks=[rows_are_right, rows_are_many])


def test_a_failed_blocking_check_stops_what_follows_and_is_the_problem(failed, instance):
    problems, not_made = problems_of(instance, failed.run_id)
    assert not failed.success
    assert not_made == 1
    assert [problem.where for problem in problems] == ["table: rows_are_right"]


def test_one_screen_says_what_failed_how_many_rows_where_and_what_to_do(failed, instance, settings):
    text = failure_text(settings, *problems_of(instance, failed.run_id))
    for words in (
        "table: rows_are_right",
        "rows: 12",
        f"select * from t where x = '{VALUE}'",
        "Look at the windows.",
        "make ui",
    ):
        assert words in text
    assert "Nothing is published yet." in text
    assert len(text.splitlines()) <= 24


def test_a_step_that_raised_says_why(instance, settings):
    problems, not_made = problems_of(instance, run_of(instance, broken).run_id)
    assert (problems[0].where, problems[0].found, not_made) == ("broken", "The disk is full: free some space", 1)


def test_an_address_gets_the_alert_once(failed, instance, http, told):
    settings = told(address_of(http))
    for _ in range(2):
        assert alert(instance, failed, settings) == []
    (message,) = http.received
    assert failed.run_id[:8] in message["title"]
    for words in (
        "table: rows_are_right",
        "rows: 12",
        "where: /warehouse/artifacts/data_docs/table.html",
        "what to do: Look at the windows of the exports.",
        "1 tables and pages that come after it were not made",
    ):
        assert words in message["message"]
    assert waiting(settings) == []


def test_a_run_that_is_started_again_and_fails_again_is_told_too(failed, instance, http, told):
    settings = told(address_of(http))
    alert(instance, failed, settings)
    tags = instance.get_run_by_id(failed.run_id).tags  # Dagster gives them to the run that follows
    again = run_of(instance, table, after_it, checks=[rows_are_right], tags=tags)
    alert(instance, again, settings)
    assert len(http.received) == 2


def test_no_alert_holds_a_value_of_a_row(instance, http, told):
    settings = told(address_of(http))
    for run in (
        run_of(instance, table, quoting, full, checks=[rows_are_right, rows_are_alike]),
        run_of(instance, quoting),
        run_of(instance, full),
    ):
        assert alert(instance, run, settings) == []
        assert VALUE in failure_text(settings, *problems_of(instance, run.run_id))
    sent = json.dumps(http.received, ensure_ascii=False)
    for word in VALUE.replace("-", " ").split():
        assert word not in sent
    assert "quoting\\n      it ended with ValueError" in sent
    assert "full\\n      it ended with OSError: No space left on device" in sent


def test_the_mailbox_gets_it(failed, instance, told):
    with smtp_receiver() as mailbox:
        receivers = "from=warehouse@uni.example&to=data@uni.example,ops@uni.example"
        assert alert(instance, failed, told(f"mailto://127.0.0.1:{mailbox.port}?{receivers}")) == []
    lines = mailbox.received
    assert sorted(line for line in lines if line.lower().startswith("rcpt")) == [
        "rcpt TO:<data@uni.example>",
        "rcpt TO:<ops@uni.example>",
    ]
    assert any(line.startswith("Subject: learning-warehouse: run ") for line in lines)


def test_the_sensor_tells_of_runs_that_nobody_watched(failed, instance, http, told):
    told(address_of(http))
    event = next(event for event in failed.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE)
    run = instance.get_run_by_id(failed.run_id)
    context = dg.build_run_status_sensor_context("failed_runs", event, instance, run).for_run_failure()
    automation.failed_runs(context)
    assert "table: rows_are_right" in http.received[0]["message"]


def test_an_alert_whose_server_is_down_waits_on_the_disk_and_is_sent_later(failed, instance, told):
    with http_receiver() as receiver:
        address = address_of(receiver)
    settings = told(address)  # and its server is down
    (line,) = alert(instance, failed, settings)
    assert "address 1 of LEARNING_WAREHOUSE_ALERT_ADDRESSES (json)" in line
    assert str(settings.alerts_dir) in line
    (file,) = waiting(settings)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for secret in ("T0KEN", "Passw0rd"):
        assert secret not in line + file.read_text() + repr(settings)
    with http_receiver(receiver.port) as receiver:
        assert automation.waiting_alerts(dg.build_sensor_context(instance=instance)).skip_message == "No alert waits"
        assert send_waiting(settings) == []
    assert [failed.run_id[:8] in message["title"] for message in receiver.received] == [True]
    assert waiting(settings) == []


def test_an_address_that_fails_keeps_no_other_from_being_told(failed, instance, http, told):
    with http_receiver() as refusing:
        refusing.status = 503
        settings = told(address_of(refusing), address_of(http))
        (line,) = alert(instance, failed, settings)
        assert "address 1 " in line
        assert "HTTP status 503" in line
        assert len(http.received) == 1
        refusing.status = 200
        assert send_waiting(settings) == []
        assert len(refusing.received) == 1
    assert len(http.received) == 1
    assert waiting(settings) == []


def test_a_message_that_a_server_never_takes_does_not_hold_up_the_next_one(settings, told):
    with http_receiver() as receiver:
        settings = told(address_of(receiver))
        for number in range(5):
            written = (datetime.now(UTC) - timedelta(hours=9 - number)).isoformat()
            keep(settings, Alert(f"run{number}", f"subject {number}", "text", written))
        receiver.status = 413
        (line,) = send_waiting(settings)
        assert line.startswith("5 alerts were not accepted by address 1")
        assert len(waiting(settings)) == 5
        receiver.status = 200
        assert send_waiting(settings) == []
        assert [message["title"][-1] for message in receiver.received] == list("01234")


def test_threads_that_learn_of_one_failure_at_a_time_send_one_alert(failed, instance, http, told):
    settings, start = told(address_of(http)), threading.Barrier(4)
    http.seconds = 0.5

    def tell():
        start.wait()
        alert(instance, failed, settings)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(http.received) == 1


def test_processes_send_an_alert_that_waits_once(http, told):
    settings = told(address_of(http))
    keep(settings, Alert("run", "subject", "text"))
    http.seconds = 1.0
    code = (
        "from dagster_project.settings import Settings; from dagster_project.report.outbox import send_waiting; "
        "print(send_waiting(Settings()))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=400)[0].strip() for process in processes] == ["[]"] * 3
    assert len(http.received) == 1


def test_alerts_that_are_too_old_or_too_many_are_given_up_and_told(http, told, monkeypatch):
    settings = told(address_of(http))
    monkeypatch.setattr(outbox, "MOST_WAITING", 2)
    for name, days in (("an-older-run", 8), ("the-oldest-of-three", 3), ("second", 2), ("third", 1)):
        written = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        keep(settings, Alert(name, name, "text", written))
    (line,) = send_waiting(settings)
    assert line.startswith("2 alerts were given up")
    assert "an-older, the-olde" in line
    assert [message["title"] for message in http.received] == ["second", "third"]
    assert waiting(settings) == []


def test_a_damaged_alert_is_told_and_holds_up_nothing(http, told):
    settings = told(address_of(http))
    keep(settings, Alert("good", "subject", "text"))
    (settings.alerts_dir / "bad.json").write_text("{")
    (line,) = send_waiting(settings)
    assert str(settings.alerts_dir / "bad.damaged") in line
    assert len(http.received) == 1
    assert send_waiting(settings) == []


def test_an_alert_that_the_disk_does_not_take_is_sent_all_the_same(failed, instance, http, told):
    settings = told(address_of(http))
    settings.artifacts_dir.mkdir(parents=True)
    settings.alerts_dir.write_text("a file where the folder should be")
    assert alert(instance, failed, settings) == []
    assert len(http.received) == 1


def test_without_an_address_nothing_is_written(failed, instance, settings):
    assert alert(instance, failed, settings) == []
    assert not settings.alerts_dir.exists()
