"""Personal columns: pseudonyms in raw, direct identifiers in the identity store only, nothing plain anywhere else."""

import hashlib
import hmac
import sqlite3
import stat

import duckdb
import pytest
from pydantic import SecretStr

from dagster_project.base.keyed_hash import keyed_hash, keyed_hash_sql, set_key
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import ensure_empty_files
from tests.unit.landing_files import PERSONAL, Bench, zipped

PEOPLE = (
    b"person,full_name,email,visits\n"
    b'p-ann,Ann Example,ann@example.org,3\np-bob,"Bob, Example",bob@example.org,many\np-cyd,Cyd Example\n'
)
VISITS = b"person,minutes,comment\np-ann,10,by ann\np-bob,long,by bob\np-cyd,5\np-\xff,7,x\n"
SECRETS = [b"p-ann", b"p-bob", b"p-cyd", b"Ann Example", b"Bob, Example", b"ann@example.org", b"by bob", b"p-\xff"]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, PERSONAL)


def plain_values_outside_of_identity(bench):
    """Files outside of the identity folder in which a plain value can be read, in the file or in a column of it."""
    found = []
    for path in bench.settings.home.rglob("*"):
        if not path.is_file() or bench.settings.identity_dir in path.parents:
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data = str(duckdb.sql(f"from read_parquet('{path}', hive_partitioning = false)").fetchall()).encode()
        if path.suffix == ".sqlite":
            data = "".join(sqlite3.connect(path).iterdump()).encode()
        found += [(path.name, secret) for secret in SECRETS if secret in data]
    return found


@pytest.mark.parametrize("value", ["", "a", "å🙂", "x" * 300, "it's"])
@pytest.mark.parametrize("key", [b"short", b"k" * 64, b"long" * 40])
def test_pseudonym_in_sql_is_hmac_sha256(value, key):
    with duckdb.connect() as connection:
        set_key(connection, key)
        ((computed,),) = connection.execute(f"select {keyed_hash_sql('$1')}", [value]).fetchall()
    assert computed == hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32] == keyed_hash(value, key)


def test_raw_has_pseudonyms_and_no_direct_column(bench):
    bench.deliver("people.csv", PEOPLE)
    bench.deliver("visits.csv", VISITS)
    people, visits = bench.load("people"), bench.load("visits")
    assert [(load.records, load.accepted, load.refused) for load in (people, visits)] == [(3, 1, 2), (4, 1, 3)]
    ann = keyed_hash("p-ann", read_key(bench.settings))
    assert bench.rows("people") == [(ann, 3, "people.csv", 1)]
    assert bench.rows("visits") == [(ann, 10, "visits.csv", 1)]
    ensure_empty_files(bench.contract, bench.settings)
    empty = bench.settings.raw_dir / "personal/people/source=__HIVE_DEFAULT_PARTITION__/empty.parquet"
    assert duckdb.sql(f"from read_parquet('{empty}', hive_partitioning = false)").columns == [
        *("person", "visits", "_file", "_record")
    ]


def test_a_pseudonym_may_be_given_in_the_place_of_an_id(bench):
    ann = keyed_hash("p-ann", read_key(bench.settings))
    # One digit too few, and a capital: ids like any other.
    near = [f"pseudonym:{ann[1:]}", f"pseudonym:{ann.upper()}"]
    bench.deliver(
        "visits.csv", "\n".join(["person,minutes", f"pseudonym:{ann},10", *(f"{x},11" for x in near)]).encode()
    )
    bench.load("visits")
    hashed = [keyed_hash(x, read_key(bench.settings)) for x in near]
    assert bench.rows("visits") == [
        (person, 10 + (record > 1), "visits.csv", record) for record, person in enumerate([ann, *hashed], start=1)
    ]


def test_identity_store_has_direct_identifiers_by_pseudonym_and_is_its_owners_only(bench):
    bench.deliver("people.csv", PEOPLE)
    bench.deliver("visits.csv", VISITS)
    bench.load("people")
    bench.load("visits")
    store = bench.settings.identity_dir / "personal/people/source=here"
    rows = duckdb.sql(f"from read_parquet('{store}/*.parquet', hive_partitioning = false)").fetchall()
    ann = keyed_hash("p-ann", read_key(bench.settings))
    assert rows == [(ann, "Ann Example", "ann@example.org", "people.csv", 1)]
    for path in [bench.settings.identity_dir, *bench.settings.identity_dir.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(bench.settings.temp_dir.stat().st_mode) == 0o700


def test_nothing_plain_lies_or_is_said_outside_of_the_identity_folder(bench):
    bench.deliver("people.csv", PEOPLE)
    bench.deliver("visits.csv", VISITS)
    results = [bench.load("people"), bench.load("visits")]
    bench.deliver("visits-broken.csv", VISITS + b'p-ann,"open')
    bench.deliver("people.csv", PEOPLE.replace(b"email", b"mail"))
    results += [bench.load("people"), bench.load("visits")]
    assert {file.status for load in results for file in load.files} == {"loaded", "unchanged", "refused"}
    assert plain_values_outside_of_identity(bench) == []
    said = "\n".join(bench.said) + repr(results)
    assert [secret for secret in SECRETS if secret.decode("latin-1") in said] == []


def test_refused_rows_keep_exact_bytes_only_where_the_owner_alone_reads(bench):
    bench.deliver("people.csv", PEOPLE)
    bench.deliver("visits.csv", VISITS)
    bench.load("people")
    bench.load("visits")
    assert not (bench.settings.quarantine_dir / "personal/people").exists()
    assert bench.quarantine("people") == [
        (2, "column visits: 'many' is not of type integer", b'p-bob,"Bob, Example",bob@example.org,many\n'),
        (3, "2 fields, expected 4", b"p-cyd,Cyd Example\n"),
    ]
    assert not (bench.settings.identity_dir / "quarantine/personal/visits").exists()
    assert bench.quarantine("visits") == [
        (2, "column minutes: 'long' is not of type integer", b"***,long,***\n"),
        (3, "2 fields, expected 3", b"***,***\n"),
        (4, "not valid UTF-8", b"***,7,***\n"),
    ]


def test_refused_parquet_rows_are_masked_too(bench):
    duckdb.sql(
        f"copy (select 'p-bob' as person, 'long' as minutes, 'by bob' as comment) to '{bench.landing}/visits.parquet'"
    )
    bench.load("visits")
    ((_, _, data),) = bench.quarantine("visits")
    assert data == b'{"comment":"***","person":"***","minutes":"long"}'


def test_reasons_show_no_personal_value(tmp_path):
    bench = Bench(tmp_path, PERSONAL.replace("name: full_name, data_type: varchar", "name: full_name, data_type: date"))
    bench.deliver("people.csv", b"person,full_name,email,visits\np-ann,Ann Example,ann@example.org,3\n")
    bench.load("people")
    ((_, reason, _),) = bench.quarantine("people")
    assert reason == "column full_name: *** is not of type date"


def test_engine_is_not_quoted_on_personal_files(bench):
    bench.deliver("visits.parquet", b"PAR1 p-ann")
    assert bench.load("visits").files[0].reason == "it is not a readable Parquet file; deliver it again"


def test_file_refused_whole_is_kept_under_identity(bench):
    bench.deliver("visits.csv", VISITS + b'p-ann,"open')
    zipped(bench.landing / "more.zip", {"other.csv": b"p-ann"}).write_bytes(b"PK cut off p-ann")
    bench.load("visits")
    kept = [path for path in bench.settings.home.rglob("*") if path.parent.name == "files"]
    assert len(kept) == 2
    assert all(bench.settings.identity_dir in path.parents for path in kept)
    assert plain_values_outside_of_identity(bench) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_events_may_have_several_pseudonyms_and_missing_ones(bench):
    bench.deliver(
        "messages.csv",
        b"sender,plain,receiver,sent_at\np-ann,x,p-bob,2024-01-01\np-bob,y,,2024-01-01\n,z,p-ann,2024-01-02\np-cyd,,,\n",
    )
    load = bench.load("messages")
    assert (load.records, load.accepted, load.refused) == (4, 2, 2)
    ann, bob = (keyed_hash(value, read_key(bench.settings)) for value in ("p-ann", "p-bob"))
    assert [row[:3] for row in bench.rows("messages")] == [(ann, "x", bob), (bob, "y", None)]
    assert [(reason, data) for _, reason, data in bench.quarantine("messages")] == [
        ("column sender: a value is required", b"***,z,***,2024-01-02\n"),
        ("the event date cannot be told from the row", b"***,,***,\n"),
    ]


def test_key_is_made_once_and_another_key_loads_personal_tables_again(bench):
    bench.deliver("visits.csv", b"person,minutes\np-ann,1\n")
    bench.load("visits")
    first = bench.rows("visits")
    assert [file.status for file in bench.load("visits").files] == ["unchanged"]
    bench.settings = bench.settings.model_copy(update={"pseudonym_key": SecretStr("another key, of my own choice")})
    assert [file.status for file in bench.load("visits").files] == ["loaded"]
    assert bench.rows("visits")[0][0] == keyed_hash("p-ann", b"another key, of my own choice") != first[0][0]
    (key,) = (path.read_text() for path in bench.settings.identity_dir.glob("pseudonym.key"))
    assert len(key) == 64


def test_pseudonyms_join_across_tables_whatever_the_file_format(bench):
    bench.deliver("visits.csv", b"person,minutes\n17,1\n")
    bench.load("visits")
    (bench.landing / "visits.csv").unlink()
    duckdb.sql(f"copy (select 17 as person, 2 as minutes) to '{bench.landing}/visits-2.parquet'")
    bench.load("visits")
    assert len({row[0] for row in bench.rows("visits")}) == 1
    assert len(bench.rows("visits")) == 2
