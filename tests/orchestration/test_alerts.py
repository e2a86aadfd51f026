"""A failed run says on one screen what failed, and tells it once to the receivers of the settings."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pydantic
import pytest

from dagster_project.defs import automation
from dagster_project.defs.failures import problems_of
from dagster_project.report.alert import failure_text
from dagster_project.settings import Settings


@dg.asset
def table():
    return 1


@dg.asset_check(asset=table, blocking=True)
def rows_are_right():
    return dg.AssetCheckResult(
        passed=False,
        description="12 of 3,000 values are negative. Look at the windows.",
        metadata={"unexpected rows": 12, "query": dg.MetadataValue.md("```sql\nselect * from t where x < 0\n```")},
    )


@dg.asset_check(asset=table)
def rows_are_many():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(deps=[table])
def after_it():
    return 2


@dg.asset
def broken():
    raise dg.Failure("The disk is full: free some space", allow_retries=False)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_of(instance, *assets, checks=(), tags=None):
    definitions = dg.Definitions(assets=assets, asset_checks=checks, jobs=[dg.define_asset_job("job")])
    return definitions.resolve_job_def("job").execute_in_process(instance=instance, raise_on_error=False, tags=tags)


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
        "select * from t where x < 0",
        "Look at the windows.",
        "make ui",
    ):
        assert words in text
    assert "Nothing is published yet." in text
    assert len(text.splitlines()) <= 24


def test_a_step_that_raised_says_why(instance, settings):
    problems, not_made = problems_of(instance, run_of(instance, broken).run_id)
    assert (problems[0].where, problems[0].found, not_made) == ("broken", "The disk is full: free some space", 1)


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as one message needs."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip():
            word = line.split()[0].upper()
            self.server.received.append(line.decode())
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (text := self.rfile.readline()) != b".\r\n":
                    self.server.received.append(text.decode().rstrip())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def receiver(request):
    server_class, handler = request.param
    with server_class(("127.0.0.1", 0), handler) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("receiver", [(HTTPServer, Webhook)], indirect=True)
def test_the_webhook_gets_the_screen_once(failed, instance, receiver, settings):
    url = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    told = Settings(home=settings.home, alert_webhook_url=url)
    for _ in range(2):
        assert automation.alert(instance, failed.run_id, told, *problems_of(instance, failed.run_id)) == []
    (message,) = receiver.received
    assert failed.run_id[:8] in message["subject"]
    assert "table: rows_are_right" in message["text"]


@pytest.mark.parametrize("receiver", [(HTTPServer, Webhook)], indirect=True)
def test_a_run_that_is_started_again_and_fails_again_is_told_too(failed, instance, receiver, settings):
    told = Settings(home=settings.home, alert_webhook_url=f"http://127.0.0.1:{receiver.server_address[1]}/hook")
    automation.alert(instance, failed.run_id, told, *problems_of(instance, failed.run_id))
    tags = instance.get_run_by_id(failed.run_id).tags  # Dagster gives them to the run that follows
    again = run_of(instance, table, after_it, checks=[rows_are_right], tags=tags)
    automation.alert(instance, again.run_id, told, *problems_of(instance, again.run_id))
    assert len(receiver.received) == 2


@pytest.mark.parametrize("receiver", [(socketserver.TCPServer, Mailbox)], indirect=True)
def test_the_mailbox_gets_the_screen(failed, instance, receiver, settings):
    told = Settings(
        home=settings.home,
        alert_smtp_host="127.0.0.1",
        alert_smtp_port=receiver.server_address[1],
        alert_smtp_starttls=False,
        alert_email_from="warehouse@uni.example",
        alert_email_to="data@uni.example, ops@uni.example",
    )
    assert automation.alert(instance, failed.run_id, told, *problems_of(instance, failed.run_id)) == []
    lines = receiver.received
    assert [line for line in lines if line.lower().startswith("rcpt")] == [
        "rcpt TO:<data@uni.example>",
        "rcpt TO:<ops@uni.example>",
    ]
    assert any(line.startswith("Subject: learning-warehouse: run ") for line in lines)


@pytest.mark.parametrize("receiver", [(HTTPServer, Webhook)], indirect=True)
def test_the_sensor_tells_of_runs_that_nobody_watched(failed, instance, receiver, settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{receiver.server_address[1]}/hook")
    event = next(event for event in failed.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE)
    run = instance.get_run_by_id(failed.run_id)
    context = dg.build_run_status_sensor_context("failed_runs", event, instance, run).for_run_failure()
    automation.failed_runs(context)
    assert "table: rows_are_right" in receiver.received[0]["text"]


def test_an_alert_that_cannot_be_sent_is_told_without_its_secret_address(failed, instance, settings):
    told = Settings(home=settings.home, alert_webhook_url="http://127.0.0.1:9/services/T0KEN")
    (line,) = automation.alert(instance, failed.run_id, told, *problems_of(instance, failed.run_id))
    assert "webhook" in line
    assert "T0KEN" not in line + repr(told)


def test_mail_without_addresses_is_refused(settings):
    with pytest.raises(pydantic.ValidationError, match="ALERT_EMAIL_FROM and ALERT_EMAIL_TO"):
        Settings(home=settings.home, alert_smtp_host="mail.uni.example")
