"""Direct identifiers are found wherever they must not be, and nowhere else."""

import json
import sqlite3

import duckdb
import pytest

from dagster_project.base.errors import PublishError
from dagster_project.privacy.identifier_search import identity_files, search_identifiers
from dagster_project.store.publish import make_snapshot_id, publish
from tests.unit.landing_files import PERSONAL, Bench

PEOPLE = b"""person,full_name,email,visits
p-ann,Ann Archer,ann.archer@uni.example,3
p-bob,Bob Baker,bob@uni.example,4
p-eve,"\xc3\x88ve d'\xc3\x89t\xc3\xa9",eve@uni.example,4
"""


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, PERSONAL)
    bench.deliver("people.csv", PEOPLE + b"p-ann,Ann Archer,ann.archer@uni.example,many\n")
    bench.load("people")
    return bench


def search(bench):
    return search_identifiers([bench.contract], bench.settings)


def build(bench, text: str) -> None:
    with duckdb.connect(bench.settings.build_database) as connection:
        connection.execute("create schema core; create schema marts")
        connection.execute("create table core.dim_learner as select 'x' as learner_key, ? as note", [text])
        connection.execute("create table marts.mart_learner_course as select 'x:ann:y' as learner_key")


def publish_now(bench):
    return publish(
        bench.settings,
        make_snapshot_id(),
        sources_info=[],
        versions={},
        identities=identity_files([bench.contract], bench.settings),
    )


def test_what_the_loader_writes_holds_none_outside_the_identity_store(bench):
    found = search(bench)
    assert (found.identifiers, found.hits) == (6, {})
    assert found.places["raw Parquet files"] == 1


@pytest.mark.parametrize(
    "text", ["Ann Archer", "to ann.archer@uni.example.", "ANN  archer!", "Ève d'Été", "x;Bob Baker"]
)
def test_a_snapshot_with_an_identifier_is_not_published(bench, text):
    build(bench, text)
    with pytest.raises(PublishError, match="note holds direct identifiers of learners in 1 diff"):
        publish_now(bench)
    assert not (bench.settings.published_dir / "current").exists()


@pytest.mark.parametrize("text", ["Joann Archer", "Archer Ann", "Ann", "bob@uni", "Ann, Bob Archer"])
def test_what_only_looks_like_one_is_published(bench, text):
    build(bench, text)
    publication = publish_now(bench)
    assert publication.searched.identifiers == 6
    assert publication.searched.columns > 3


def test_every_place_is_searched(bench):
    build(bench, "nothing")
    publish_now(bench)
    home = bench.settings.home
    places = {
        "dagster/history/runs/index.db": None,
        "dagster/logs/event.log": "2024 INFO read ann.archer@uni.example",
        "published/current/reports/page.html": "<td>&Egrave;ve d&#39;&Eacute;t&eacute;</td>",
        "artifacts/data_docs/index.html": "<b>Bob Baker</b>",
        "artifacts/alerts/run.json": json.dumps({"text": "Ann Archer"}),
        "artifacts/models/x.json": json.dumps({"name": "Ève d'Été"}),
        "quarantine/personal/x/files/x.csv": "p,Bob Baker",
        "sources.json": '{"landing": "files of Bob\\nBaker"}',
    }
    for name, text in places.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            with sqlite3.connect(path) as connection:
                connection.execute("create table events (body text)")
                connection.execute("insert into events values (?)", [json.dumps({"a": "x" * 9000 + " Ann Archer"})])
        else:
            path.write_text(text)
    for name in ("raw/personal/visits/source=x/y.parquet", "quarantine/personal/visits/y.parquet"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        duckdb.sql(f"copy (select 'see Ann Archer'::blob as raw_bytes) to '{home / name}'")
    snapshot = (home / "published" / "current").resolve()
    found = {place.replace(str(home) + "/", "") for place in search(bench).hits}
    assert found == {
        *(name for name in places if not name.startswith("published")),
        f"{snapshot.relative_to(home)}/reports/page.html",
        "raw/personal/visits/source=x: raw_bytes",
        "quarantine/personal/visits: raw_bytes",
    }
