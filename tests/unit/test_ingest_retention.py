"""Event days beyond their retention go from raw, the ledger and the marks agree, and no load brings them back."""

import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from dagster_project.contracts.source import read_contracts
from dagster_project.ingest import retention
from dagster_project.ingest.audit import imbalances, raw_files
from dagster_project.ingest.ledger import Ledger
from dagster_project.settings import REPOSITORY, Settings
from tests.unit.landing_files import EVENTS_HEADER, Bench, event_lines

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
REFUSED = b"x,,2024-01-01,,\n"


def keeping(bench: Bench, first: str) -> Bench:
    """The same warehouse under a period that ends on a day."""
    days = (datetime.now(UTC).date() - date.fromisoformat(first)).days
    bench.settings = bench.settings.model_copy(update={"raw_retention_days": {"events": days}})
    return bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("events-old.csv", EVENTS_HEADER + event_lines(DAYS[:2]) + REFUSED)
    bench.deliver("events-new.csv", EVENTS_HEADER + event_lines(DAYS[1:], first=10) + REFUSED)
    bench.load("events")
    bench.ledger.clear(bench.ledger.marked_dates("tiny", "here"))
    return bench


def differences(bench: Bench) -> list:
    table = bench.contract.table("events")
    files = raw_files(bench.contract, table, "here", bench.settings)
    records = bench.ledger.files("tiny", "events", "here")
    return imbalances(bench.contract, table, "here", records, files, bench.settings)


def test_whole_days_go_with_the_refused_rows_of_their_files_and_the_counts_agree(bench):
    load = keeping(bench, "2024-01-03").load("events")
    assert bench.dates("events") == DAYS[2:]
    assert [row[0] for row in bench.rows("events")] == [11, 12]
    assert len(bench.quarantine("events")) == 1
    counts = bench.ledger.table_counts("tiny", "events", "here")
    assert (counts.records, counts.accepted, counts.refused) == (3, 2, 1)
    assert bench.ledger.expired_rows("tiny", "events", "here") == {"events-old.csv": 3, "events-new.csv": 1}
    assert differences(bench) == []
    assert [str(day) for day in load.changed_dates] == DAYS[:2]
    assert [str(day) for day in bench.ledger.marked_dates("tiny", "here").dates] == DAYS[:2]
    first = {record.file: str(record.first_date) for record in bench.ledger.files("tiny", "events", "here")}
    assert first["events-new.csv"] == "2024-01-03"


def test_twice_is_harmless_and_no_delivery_brings_a_day_back(bench):
    keeping(bench, "2024-01-03").load("events")
    bench.ledger.clear(bench.ledger.marked_dates("tiny", "here"))
    again = bench.load("events")
    assert {file.status for file in again.files} == {"unchanged"}
    assert again.changed_dates == bench.ledger.marked_dates("tiny", "here").dates == ()
    # Corrected, and with a late row: the content is another one, and is loaded.
    bench.deliver("events-old.csv", EVENTS_HEADER + event_lines([*DAYS[:2], DAYS[3]]) + REFUSED)
    load = bench.load("events")
    assert (load.accepted, load.refused) == (1 + 2, 2)
    assert bench.dates("events") == DAYS[2:]
    assert bench.ledger.expired_rows("tiny", "events", "here") == {"events-old.csv": 2, "events-new.csv": 1}
    assert differences(bench) == []
    bench.deliver("events-old.csv", EVENTS_HEADER + event_lines(DAYS[:2]) + REFUSED)
    assert bench.load("events").files[1].accepted == 0
    assert [row[0] for row in bench.rows("events")] == [11, 12]
    assert bench.ledger.expired_rows("tiny", "events", "here") == {"events-old.csv": 3, "events-new.csv": 1}
    assert differences(bench) == []


def test_a_first_load_under_a_period_equals_an_expiry_after_it(bench, tmp_path):
    keeping(bench, "2024-01-03").load("events")
    shutil.copytree(bench.landing, tmp_path / "other" / "landing")
    other = keeping(Bench(tmp_path / "other"), "2024-01-03")
    other.load("events")
    assert other.rows("events") == bench.rows("events")
    assert other.quarantine("events") == bench.quarantine("events")
    for counted in (Ledger.table_counts, Ledger.expired_rows):
        assert counted(other.ledger, "tiny", "events", "here") == counted(bench.ledger, "tiny", "events", "here")


def test_what_a_kill_interrupted_is_completed(bench, monkeypatch):
    keeping(bench, "2024-01-03")
    remove = shutil.rmtree

    def killed(path, *args, **kwargs):
        remove(path, *args, **kwargs)
        if path.name == f"event_date={DAYS[1]}":
            raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.load("events")
    monkeypatch.undo()
    assert differences(bench) != []
    bench.load("events")
    assert bench.ledger.expired_rows("tiny", "events", "here") == {"events-old.csv": 3, "events-new.csv": 1}
    assert differences(bench) == []
    assert [str(day) for day in bench.ledger.marked_dates("tiny", "here").dates] == DAYS[:2]


def test_the_last_day_that_is_kept_is_as_many_days_ago_as_the_setting_says(bench):
    settings = bench.settings.model_copy(update={"raw_retention_days": {"events": 9, "tiny.events": 30}})
    first = retention.first_kept_day(bench.contract, bench.contract.table("events"), settings)
    assert first == datetime.now(UTC).date() - timedelta(days=30)
    assert retention.first_kept_day(bench.contract, bench.contract.table("learners"), settings) is None


@pytest.mark.parametrize(
    ("periods", "message"),
    [
        ({"event": 9}, "names event, which no contract has. Tables that can have one: .*campus.events"),
        ({"campus.learners": 9}, "names campus.learners, which is delivered as a snapshot"),
        ({"submissions": 9}, "names submissions, which has no event date in its contract"),
    ],
)
def test_a_period_of_a_table_without_ages_is_refused(periods, message):
    contracts = read_contracts(REPOSITORY / "dbt/models").values()
    retention.check_periods(contracts, Settings(raw_retention_days={"events": 9, "oulad.studentVle": 9}))
    with pytest.raises(retention.RetentionError, match=message):
        retention.check_periods(contracts, Settings(raw_retention_days=periods))


def test_a_period_is_read_from_the_environment_and_must_be_days(monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_RAW_RETENTION_DAYS", '{"events": 1095}')
    assert Settings().raw_retention_days == {"events": 1095}
    monkeypatch.setenv("LEARNING_WAREHOUSE_RAW_RETENTION_DAYS", '{"events": 0}')
    with pytest.raises(ValidationError, match="greater than 0"):
        Settings()
