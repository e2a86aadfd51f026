"""What a scoring changed in the call list is told once after the publication, in counts, to addresses of its own."""

import json
from datetime import date

import dagster as dg
import duckdb
import pytest

from dagster_project.defs.publish.assets import learning_warehouse
from dagster_project.defs.resources import WarehouseResource
from dagster_project.report import outbox
from dagster_project.report.outbox import send_waiting
from dagster_project.settings import Settings
from tests import made_call_list
from tests.receivers import http_receiver

DAY = date(2026, 3, 2)
# Learner, program, change.
CHANGES = [
    ("ann", "p1", "newly_at_risk"),
    ("bob", "p1", "newly_at_risk"),
    ("ann", "p1", "newly_silent"),
    ("cid", None, "no_longer_listed"),
]


@pytest.fixture
def http():
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def told(settings, http, monkeypatch) -> Settings:
    monkeypatch.setattr(outbox, "SEND_SECONDS", 60)
    address = f"json://127.0.0.1:{http.port}/T0KEN?cto=60&rto=60"
    monkeypatch.setenv("LEARNING_WAREHOUSE_CALL_LIST_WEBHOOK", json.dumps([address]))
    return Settings()


def build(settings: Settings, changes: list[tuple], day: date = DAY) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema if not exists core; create schema if not exists marts")
        connection.execute(
            "create or replace table core.dim_learner as select 'uni' as source, 'uni:ann' as learner_key; "
            "create or replace table marts.mart_learner_course as from core.dim_learner"
        )
        made_call_list.write(connection, made_call_list.listed())
        for learner, program, change in changes:
            connection.execute(
                "insert into learners.call_list_changes by name select 'uni' as source, 'failed_or_withdrawn' as "
                "outcome, ? as change, ? as learner_key, ? as enrollment_key, ? as program_key, ? as program_name, "
                "?::date as scored_on",
                [change, f"uni:{learner}", f"uni:{learner}:c1", program, program and "Nursing", day],
            )


def publish(settings: Settings) -> list[str]:
    """Publish, and send as a command does after its run."""
    assert dg.materialize([learning_warehouse], resources={"warehouse": WarehouseResource()}).success
    return send_waiting(settings)


def test_changes_are_told_once_in_counts_and_never_by_a_learners_key(told, http):
    build(told, CHANGES)
    assert publish(told) == []
    (message,) = http.received
    assert message["title"].endswith("the call list of 2026-03-02: 2 newly at risk, 1 newly silent, 1 no longer listed")
    assert message["type"] == "info"
    lines = message["message"].splitlines()
    assert lines[:2] == [
        "uni, Nursing: 2 newly at risk, 1 newly silent",
        "uni, courses of no program: 1 no longer listed",
    ]
    assert str(told.published_dir / "call_lists/changes/2026-03-02.csv") in lines[2]
    assert not [name for name in ("ann", "bob", "cid") if f"uni:{name}" in json.dumps(message)]
    # The same scoring in another publication: nothing new.
    assert publish(told) == []
    assert len(http.received) == 1
    # The next day nothing has changed, and on the day after something has.
    build(told, [])
    publish(told)
    build(told, CHANGES[:1], date(2026, 3, 4))
    publish(told)
    assert [x["title"].partition("list of ")[2] for x in http.received[1:]] == ["2026-03-04: 1 newly at risk"]
    assert not list(told.alerts_dir.glob("*.json"))


def test_what_a_server_does_not_take_waits_and_is_sent_again(told, http):
    build(told, CHANGES)
    http.status = 503
    (line,) = publish(told)
    assert (
        "by address 1 of LEARNING_WAREHOUSE_CALL_LIST_WEBHOOK (json): its server answered with HTTP status 503" in line
    )
    assert http.received == []
    http.status = 200
    assert publish(told) == []
    assert len(http.received) == 1


def test_who_is_told_of_failures_is_not_told_of_changes(settings, http, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_ALERT_ADDRESSES", json.dumps([f"json://127.0.0.1:{http.port}/T0KEN"]))
    build(settings, CHANGES)
    assert publish(Settings()) == []
    assert http.received == []
    assert not settings.alerts_dir.exists()
