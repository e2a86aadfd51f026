"""A learner who asked to be forgotten is gone from all that the loader keeps, and no load brings them back."""

import gzip
import shutil
import sqlite3
from contextlib import closing
from datetime import date

import duckdb
import pytest

from dagster_project.ingest import audit, loader
from dagster_project.ingest.erasure import note_landing_files, request_erasure, unload
from dagster_project.ingest.loader import load_table
from dagster_project.ingest.recognition import Erased
from dagster_project.ingest.requests import ErasureError, Erasures
from dagster_project.privacy.erasure.history import mask_records
from tests.unit.landing_files import OULAD, PERSONAL, Bench, gzipped, oulad_files, zipped

PEOPLE = b"person,full_name,email,visits\np-ann,Ann Archer,ann@example.org,3\np-bob,Bob Baker,bob@example.org,4\n"
VISITS = b"person,minutes\np-ann,1\np-bob,2\np-ann,3\n"
MESSAGES = b"""sender,plain,receiver,sent_at
p-ann,hello,p-bob,2024-01-01 10:00:00
p-bob,hello,p-ann,2024-01-02 10:00:00
p-bob,hello,p-cid,2024-01-02 11:00:00
"""
REFUSED = b"p-ann,Ann Archer,,3\np-cid,Cid Carter,,3\nx,Ann Archer,ann@example.org,3,4\np-ann,Ann,a,1,1\n"
TABLES = ("people", "visits", "messages")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, PERSONAL)
    bench.deliver("people.csv", PEOPLE + REFUSED)
    bench.deliver("visits.csv", VISITS)
    bench.deliver("messages.csv", MESSAGES)
    load(bench)
    return bench


def load(bench):
    return [bench.load(table) for table in TABLES]


def ask(bench, learner="p-ann"):
    return request_erasure(bench.settings, bench.contract, "here", learner_id=learner)


def unbalanced(bench) -> list:
    """Landing files whose records are not all in raw and quarantine."""
    found = []
    for table in bench.contract.tables:
        raw = audit.raw_files(bench.contract, table, "here", bench.settings)
        records = bench.ledger.files("personal", table.name, "here")
        found += audit.imbalances(bench.contract, table, "here", records, raw, bench.settings)
    return found


def everything(bench) -> dict[str, bytes]:
    """All bytes below the warehouse; Parquet as the text of its rows."""
    found = {}
    for path in bench.settings.home.rglob("*"):
        if path.suffix == ".parquet":
            rows = duckdb.sql(f"from read_parquet('{path}', hive_partitioning = false)").fetchall()
            found[str(path)] = repr(rows).encode()
        elif path.is_file():
            found[str(path)] = path.read_bytes()
    return found


def test_nothing_of_the_learner_is_left_and_all_others_are(bench):
    ann = bench.rows("people")[0][0]
    assert any(b"Ann" in data for data in everything(bench).values())
    ask(bench)
    load(bench)
    left = everything(bench)
    for word in (b"p-ann", b"Ann", b"ann@example.org", ann.encode()):
        assert [path for path, data in left.items() if word in data] == []
    assert [row[1] for row in bench.rows("people")] == [4]
    assert [row[1] for row in bench.rows("visits")] == [2]
    assert [row[1] for row in bench.rows("messages")] == ["hello"]
    assert bench.dates("messages") == ["2024-01-02"]
    assert [data for _, _, data in bench.quarantine("people")] == [b"p-cid,Cid Carter,,3\n"]


def test_counts_are_those_of_a_delivery_without_the_learner(bench, tmp_path):
    ask(bench)
    load(bench)
    other = Bench(tmp_path / "other", PERSONAL) if (tmp_path / "other").mkdir() is None else None
    other.deliver("people.csv", PEOPLE.replace(PEOPLE.splitlines(True)[1], b"") + REFUSED.splitlines(True)[1])
    other.deliver("visits.csv", b"person,minutes\np-bob,2\n")
    other.deliver("messages.csv", MESSAGES.splitlines(True)[0] + MESSAGES.splitlines(True)[3])
    load(other)
    for table in TABLES:
        assert bench.ledger.table_counts("personal", table, "here") == other.ledger.table_counts(
            "personal", table, "here"
        )
    assert unbalanced(bench) == []


def test_nothing_of_a_source_is_loaded_before_its_learners_are_gone(bench, tmp_path):
    ask(bench)
    bench.deliver("visits-2.csv", b"person,minutes\np-bob,4\n")
    before = bench.rows("visits")
    with pytest.raises(
        ErasureError, match="Source here: 1 of its learners asked to be erased, and their rows are still"
    ):
        load_table(bench.contract, "visits", "here", bench.landing, bench.settings)
    assert bench.rows("visits") == before
    other = load_table(bench.contract, "visits", "there", bench.landing, bench.settings)
    assert other.accepted == 4
    unload(bench.contract, "here", bench.settings, bench.said.append)
    assert load_table(bench.contract, "visits", "here", bench.landing, bench.settings).accepted == 2


def test_a_load_that_was_killed_while_its_files_moved_brings_nobody_back(bench, monkeypatch):
    def die(*_) -> None:
        raise KeyboardInterrupt

    bench.deliver("visits-2.csv", VISITS)
    with monkeypatch.context() as killed:
        killed.setattr(loader, "put_in_place", die)
        killed.setattr(shutil, "rmtree", lambda *_, **__: None)  # who is killed tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            bench.load("visits")
    ask(bench)
    unload(bench.contract, "here", bench.settings, bench.said.append)
    assert [row[1] for row in bench.rows("visits")] == [2, 2]  # the killed load is done, without her
    bench.load("visits")
    assert [row[1] for row in bench.rows("visits")] == [2, 2]


def test_days_of_the_learner_are_marked_for_a_rebuild(bench):
    bench.ledger.clear(bench.ledger.marked_dates("personal", "here"))
    ask(bench)
    bench.load("visits")
    assert bench.ledger.marked_dates("personal", "here").dates == (date(2024, 1, 1), date(2024, 1, 2))


def test_asking_twice_is_harmless(bench):
    first = ask(bench)
    assert ask(bench) == first
    load(bench)
    left = everything(bench)
    assert ask(bench).stage == "unloaded"
    assert [file.status for loaded in load(bench) for file in loaded.files] == ["unchanged"] * 3
    assert everything(bench) == left


def test_no_load_brings_the_learner_back(bench):
    ask(bench)
    load(bench)
    more = PEOPLE + REFUSED + b"p-dan,Dan Dean,dan@example.org,1\n"
    bench.deliver("people.csv", more)
    bench.deliver("visits-2.csv", VISITS)
    duckdb.sql(
        "copy (select 'p-ann' as person, 9 as minutes union all select 'p-bob', 8) "
        f"to '{bench.landing}/visits-3.parquet'"
    )
    bench.deliver("messages-2.csv", MESSAGES)
    (people, visits, _) = load(bench)
    assert people.records == people.accepted + people.refused == 3
    assert [(file.name, file.accepted) for file in visits.files] == [
        ("visits-2.csv", 1),
        ("visits-3.parquet", 1),
        ("visits.csv", 1),
    ]
    for word in (b"p-ann", b"Ann", b"ann@example.org"):
        assert [path for path, data in everything(bench).items() if word in data] == []
    assert unbalanced(bench) == []


def test_a_file_refused_whole_is_kept_without_the_learner(bench):
    bench.deliver("visits-9.csv", b"person,minute\np-ann,1\np-bob,2\n")
    bench.load("visits")
    ask(bench)
    load(bench)
    (kept,) = bench.kept("visits")
    assert kept.read_bytes() == b"person,minute\n*****,1\np-bob,2\n"
    bench.deliver("visits-9.csv", b"person,minute\np-ann,1\np-bob,3\n")
    bench.load("visits")
    (kept,) = bench.kept("visits")
    assert kept.read_bytes() == b"person,minute\n*****,1\np-bob,3\n"


def test_an_unknown_learner_is_said_clearly(bench):
    with pytest.raises(ErasureError, match="No learner of source here has that id: looked in people, visits, messages"):
        ask(bench, "ann@example.org")
    assert Erasures(bench.settings).all() == []


def test_the_same_id_in_another_source_is_another_learner(bench):
    bench.load("visits", source="there")
    ask(bench)
    load(bench)
    bench.load("visits", source="there")
    assert [row[1] for row in bench.rows("visits", source="there")] == [1, 2, 3]


def test_what_is_remembered_is_no_personal_data(bench):
    asked = ask(bench)
    pseudonym = bench.rows("people")[0][0]
    remembered = (bench.settings.identity_dir / "erased.json").read_text()
    assert not {word for word in ("p-ann", "Ann", "ann@", pseudonym) if word in remembered}
    assert asked.tombstone in remembered
    assert oct((bench.settings.identity_dir / "erased.json").stat().st_mode)[-3:] == "600"


def test_another_key_does_not_bring_the_learner_back(bench):
    ask(bench)
    load(bench)
    bench.settings = bench.settings.model_copy(update={"pseudonym_key": erasure_key()})
    with pytest.raises(ErasureError, match="under another pseudonym key"):
        bench.load("visits")


def erasure_key():
    from pydantic import SecretStr

    return SecretStr("another key, of my own choice")


def test_ids_that_stay_as_they_are_are_found_by_their_column(tmp_path):
    bench = Bench(tmp_path, OULAD)
    for name, data in oulad_files().items():
        bench.deliver(name, data)
    tables = [table.name for table in bench.contract.tables]
    for table in tables:
        bench.load(table)
    assert len(bench.rows("studentVle")) == 3
    ask(bench, "11391")
    for table in tables:
        bench.load(table)
    assert [table for table in tables if bench.rows(table)] == ["courses", "assessments", "vle"]
    bench.deliver("studentVle.csv", oulad_files()["studentVle.csv"] + b'"AAA","2013J","5","546943","31","2"\r\n')
    bench.load("studentVle")
    assert [row[2] for row in bench.rows("studentVle")] == [5]


def test_landing_files_are_listed(bench):
    zipped(bench.landing / "more.zip", {"visits-7.csv": VISITS, "visits-8.csv": b"person,minutes\np-ann2,1\n"})
    noted = note_landing_files(bench.contract, "here", bench.landing, "p-ann", ask(bench), bench.settings)
    assert noted.landing == ("messages.csv", "people.csv", "visits-7.csv", "visits.csv")
    assert noted.rewritten == ()
    assert (bench.landing / "visits.csv").read_bytes() == VISITS


def test_landing_files_are_cleaned_when_the_setting_says_so(bench):
    (bench.landing / "messages.csv").unlink()
    bench.deliver("messages.csv.gz", gzipped(MESSAGES))
    duckdb.sql(
        "copy (select 'p-ann' as person, 9 as minutes union all select 'p-bob', 8) "
        f"to '{bench.landing}/visits-3.parquet'"
    )
    settings = bench.settings.model_copy(update={"erase_from_landing": True})
    noted = note_landing_files(bench.contract, "here", bench.landing, "p-ann", ask(bench), settings)
    assert noted.rewritten == noted.landing == ("messages.csv", "people.csv", "visits-3.parquet", "visits.csv")
    assert (bench.landing / "visits.csv").read_bytes() == b"person,minutes\np-bob,2\n"
    assert gzip.decompress((bench.landing / "messages.csv.gz").read_bytes()) == (
        MESSAGES.splitlines(True)[0] + MESSAGES.splitlines(True)[3]
    )
    assert duckdb.sql(f"from '{bench.landing}/visits-3.parquet'").fetchall() == [("p-bob", 8)]
    assert sorted(path.name for path in bench.landing.iterdir()) == [
        "messages.csv.gz", "people.csv", "visits-3.parquet", "visits.csv",
    ]  # fmt: skip


def test_landing_files_in_which_the_learners_column_has_another_name_are_cleaned_too(tmp_path):
    """A platform that puts its customer into the name: uni_user_id for person, in text and in Parquet."""
    column = "{name: person, data_type: varchar, config: {meta: {required: true, pii: pseudonym"
    bench = Bench(tmp_path, PERSONAL.replace(column, f'{column}, names: ["*_user_id"]'))
    bench.deliver("visits.csv", b"uni_user_id,minutes\np-ann,1\np-bob,2\n")
    duckdb.sql(
        "copy (select 'p-ann' as uni_user_id, 9 as minutes union all select 'p-bob', 8) "
        f"to '{bench.landing}/visits-3.parquet'"
    )
    assert bench.load("visits").accepted == 4
    settings = bench.settings.model_copy(update={"erase_from_landing": True})
    noted = note_landing_files(bench.contract, "here", bench.landing, "p-ann", ask(bench), settings)
    assert noted.rewritten == noted.landing == ("visits-3.parquet", "visits.csv")
    assert (bench.landing / "visits.csv").read_bytes() == b"uni_user_id,minutes\np-bob,2\n"
    assert duckdb.sql(f"from '{bench.landing}/visits-3.parquet'").fetchall() == [("p-bob", 8)]


def test_a_landing_file_that_gives_the_learners_pseudonym_is_theirs_too(bench):
    ann, bob = (f"pseudonym:{row[0]}" for row in bench.rows("people")[:2])
    bench.deliver("visits-calls.csv", f"person,minutes\n{ann},7\n{bob},8\n".encode())
    settings = bench.settings.model_copy(update={"erase_from_landing": True})
    noted = note_landing_files(bench.contract, "here", bench.landing, "p-ann", ask(bench), settings)
    assert "visits-calls.csv" in noted.rewritten
    assert (bench.landing / "visits-calls.csv").read_bytes() == f"person,minutes\n{bob},8\n".encode()
    # Put back, no load brings them back.
    bench.deliver("visits-calls.csv", f"person,minutes\n{ann},7\n{bob},8\n".encode())
    load(bench)
    assert {row[0] for row in bench.rows("visits")} == {bob.removeprefix("pseudonym:")}


def test_what_is_told_of_runs_gets_asterisks_in_the_learners_place(bench, monkeypatch):
    pseudonym = bench.rows("people")[0][0]
    history = bench.settings.home / "dagster" / "history"
    history.mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(history.parent))
    texts = [f'{{"key": "here:{pseudonym}:course"}}', "mail to ann@example.org of p-ann", "p-anna and p-bob"] * 500
    with closing(sqlite3.connect(history / "index.db")) as database, database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table event_logs (id integer primary key, event text, at integer)")
        database.executemany("insert into event_logs (event, at) values (?, 1)", [(text,) for text in texts])
    docs = bench.settings.artifacts_dir / "data_docs" / "index.html"
    docs.parent.mkdir(parents=True)
    docs.write_text(f"<td>here:{pseudonym}</td>")
    ask(bench)
    load(bench)
    erased = Erased.of(bench.settings, "here")
    with (history.parent / "run.err").open("a") as log:
        log.write("Ann Archer, p-ann\n")
        log.flush()
        assert mask_records(bench.settings, erased) == {"texts of dagster": 1001, "texts of artifacts": 1}
        log.write("the run goes on\n")
    assert mask_records(bench.settings, erased) == {}
    left = everything(bench)
    for word in (b'p-ann"', b"ann@example.org", b"Ann Archer", pseudonym.encode()):
        assert [path for path, data in left.items() if word in data] == []
    assert left[str(history.parent / "run.err")] == b"**********,******\nthe run goes on\n"
    assert docs.read_text() == f"<td>here:{'*' * 32}</td>"
    with closing(sqlite3.connect(history / "index.db")) as database:
        shown = database.execute(
            "select event, count(*), sum(at) from event_logs group by event order by event"
        ).fetchall()
    assert shown == [
        ("mail to *************** of *****", 500, 500),
        ("p-anna and p-bob", 500, 500),
        (f'{{"key": "here:{"*" * 32}:course"}}', 500, 500),
    ]
