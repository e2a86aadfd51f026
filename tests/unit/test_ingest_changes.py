"""What a load would find new is told without loading: each is held against the load that follows."""

import os
from datetime import date, timedelta

import pytest

from dagster_project.base import clock
from dagster_project.ingest import changes, retention
from dagster_project.ingest.changes import changed_tables, table_state
from dagster_project.ingest.landing import LandingError, LandingFile
from dagster_project.ingest.sources import Source
from tests.unit.landing_files import EVENTS_HEADER, PERSONAL, Bench, event_lines, gzipped, zipped

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
LEARNERS = b"learner_id,country\n1,NL\n2,DE\n"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("learners-2024-01.csv", LEARNERS)
    bench.deliver("events-1.csv", EVENTS_HEADER + event_lines(DAYS))
    load(bench)
    return bench


def load(bench: Bench) -> dict[str, list[str]]:
    """Loads every table; by table what happened to its files, unchanged ones left out."""
    loads = {table.name: bench.load(table.name).files for table in bench.contract.tables}
    found = {name: [x.name for x in files if x.status != "unchanged"] for name, files in loads.items()}
    return {name: files for name, files in found.items() if files}


def changed(bench: Bench) -> dict[str, str]:
    return changed_tables(bench.contract, Source("here", bench.contract.name, bench.landing), bench.settings)


def states(bench: Bench) -> dict[str, str]:
    return {table.name: table_state(bench.contract, table, bench.settings) for table in bench.contract.tables}


def test_before_the_first_load_everything_is_new(tmp_path):
    bench = Bench(tmp_path)
    bench.deliver("events-1.csv", EVENTS_HEADER + event_lines(DAYS))
    assert changed(bench) == {"learners": "no file, though the table must be there", "events": "events-1.csv"}


def test_after_a_load_nothing_is(bench):
    assert changed(bench) == {}
    before = states(bench)
    assert load(bench) == {}
    assert states(bench) == before


def test_a_new_file_and_a_corrected_one_are_their_tables_change(bench):
    bench.deliver("events-2.csv", EVENTS_HEADER + event_lines(DAYS, first=10))
    assert changed(bench) == {"events": "events-2.csv"}
    before = states(bench)
    assert load(bench) == {"events": ["events-2.csv"]}
    assert changed(bench) == {}
    assert {name for name, state in states(bench).items() if state != before[name]} == {"events"}
    bench.deliver("events-1.csv", EVENTS_HEADER + event_lines(DAYS[:2]))
    assert changed(bench) == {"events": "events-1.csv"}
    assert load(bench) == {"events": ["events-1.csv"]}
    assert changed(bench) == {}


def test_a_file_of_the_same_bytes_is_none_whatever_its_time(bench):
    os.utime(bench.landing / "events-1.csv", (1, 1))
    assert changed(bench) == {}


def test_bytes_are_read_only_of_files_that_look_otherwise_than_last_time(bench, monkeypatch):
    changed(bench)
    read: list[str] = []
    original = LandingFile.stored_hash
    monkeypatch.setattr(LandingFile, "stored_hash", lambda file: read.append(file.name) or original(file))
    changed(bench)
    assert read == []
    os.utime(bench.landing / "events-1.csv", (1, 1))
    changed(bench)
    assert read == ["events-1.csv"]


def test_a_file_of_the_same_size_and_other_bytes_is_found(bench):
    path = bench.landing / "events-1.csv"
    path.write_bytes(path.read_bytes().replace(b"note 0", b"note 9"))
    assert changed(bench) == {"events": "events-1.csv"}


def test_a_file_that_is_wrapped_anew_is_looked_at_once(bench):
    path = bench.landing / "events-1.csv"
    (bench.landing / "events-1.csv.gz").write_bytes(gzipped(path.read_bytes()))
    path.unlink()
    assert changed(bench) == {"events": "events-1.csv"}
    before = bench.rows("events")
    load(bench)
    assert bench.rows("events") == before
    assert changed(bench) == {}


def test_a_file_that_is_gone_is_kept(bench):
    (bench.landing / "events-1.csv").unlink()
    assert changed(bench) == {}


def test_the_newest_snapshot_is_the_table(bench):
    bench.deliver("learners-2024-02.csv", LEARNERS + b"3,FR\n")
    assert changed(bench) == {"learners": "learners-2024-02.csv"}
    load(bench)
    assert changed(bench) == {}
    # An older one that comes late changes nothing but is recorded; of one that is gone the rows stay.
    bench.deliver("learners-2023-12.csv", LEARNERS)
    assert changed(bench) == {"learners": "learners-2023-12.csv"}
    load(bench)
    assert changed(bench) == {}
    (bench.landing / "learners-2024-02.csv").unlink()
    assert changed(bench) == {}
    assert load(bench) == {}


def test_a_refused_file_is_no_news_until_it_is_delivered_anew(bench):
    bench.deliver("events-2.csv", b"no such header\n1\n")
    assert changed(bench) == {"events": "events-2.csv"}
    load(bench)
    assert changed(bench) == {}
    bench.deliver("events-2.csv", EVENTS_HEADER + event_lines(DAYS, first=20))
    assert changed(bench) == {"events": "events-2.csv"}


def test_members_of_a_zip_are_files(bench, tmp_path):
    for path in list(bench.landing.iterdir()):
        path.unlink()
    members = {"learners-2024-01.csv": LEARNERS, "events-1.csv": EVENTS_HEADER + event_lines(DAYS)}
    zipped(bench.landing / "all.zip", members)
    load(bench)
    assert changed(bench) == {}
    zipped(bench.landing / "all.zip", members | {"events-2.csv": EVENTS_HEADER + event_lines(DAYS, first=30)})
    assert changed(bench) == {"events": "events-2.csv"}


def test_another_reading_of_the_files_loads_them_again(bench, monkeypatch):
    monkeypatch.setattr(changes, "LAYOUT", 2)
    assert set(changed(bench)) == {"learners", "events"}


def test_another_key_of_the_pseudonyms_loads_what_is_personal(tmp_path):
    bench = Bench(tmp_path, PERSONAL)
    bench.deliver("people.csv", b"person,full_name,email,visits\na,Ann,a@x.org,1\n")
    bench.deliver("visits.csv", b"person,minutes\na,5\n")
    bench.deliver("messages.csv", b"sender,plain,receiver,sent_at\na,x,b,2024-01-01 00:00:00\n")
    load(bench)
    assert changed(bench) == {}
    bench.settings.generated_key_file.write_text("f" * 64)
    assert set(changed(bench)) == {"people", "visits", "messages"}


def test_rows_that_are_kept_no_longer_are_a_change_when_their_day_comes(bench, monkeypatch):
    days = (clock.today() - date(2024, 1, 1)).days
    bench.settings = bench.settings.model_copy(update={"raw_retention_days": {"events": days}})
    contracts = {"tiny": bench.contract}
    assert changed(bench) == {}
    due = retention.next_expiry(contracts, bench.settings)
    monkeypatch.setenv(clock.VARIABLE, (due - timedelta(seconds=90)).isoformat())
    assert changed(bench) == {}
    monkeypatch.setenv(clock.VARIABLE, due.isoformat())
    assert changed(bench) == {"events": "rows from before 2024-01-02, which are kept no longer"}
    load(bench)
    assert changed(bench) == {}
    assert retention.next_expiry(contracts, bench.settings) == due + timedelta(days=1)


def test_what_lies_nowhere_is_told(bench):
    with pytest.raises(LandingError, match="no such landing place"):
        changed_tables(bench.contract, Source("here", "tiny", bench.landing / "elsewhere"), bench.settings)


def test_a_damaged_file_of_looks_is_made_anew(bench):
    changed(bench)
    path = bench.settings.raw_dir / "looks.json"
    path.write_text("{")
    assert changed(bench) == {}
    assert path.read_text() != "{"
