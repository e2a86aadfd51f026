"""A publication is all or nothing: for readers at any moment, after a failed audit, and after kill -9 at any point."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import duckdb
import pytest

from dagster_project.base.errors import (
    PublishDiskError,
    PublishedIdentifierError,
    PublishError,
    WarehouseBusyError,
)
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.tables import read_contracts
from dagster_project.settings import Settings
from dagster_project.store import carry_over
from dagster_project.store import publish as publish_module
from dagster_project.store.erasure import ErasedLearners
from dagster_project.store.meta import SourceInfo, find_unit
from dagster_project.store.publish import (
    DATABASE,
    GROUPS_DATABASE,
    WALL_CLOCK_COLUMNS,
    compare_snapshots,
    make_snapshot_id,
    publish,
)

SOURCES = [
    SourceInfo("uni_b", "campus", date(2024, 2, 1), date(2024, 6, 30), 3, 400, 2),
    SourceInfo("oulad", "oulad", date(2013, 9, 1), date(2014, 10, 1), 7, 900, 0),
]
VERSIONS = {"dbt-core": "1.11.16", "dagster": "1.13.27"}
DATA_VERSIONS = {
    "core.dim_learner": "learners 1",
    "core.dim_date": "dates 1",
    "marts.mart_learner_course": "courses 1",
    "learners.names": "names 1",
}
NUMBERED = {"core.dim_learner": "learners 2", "marts.mart_learner_course": "courses 2"}
"""Versions of the tables that differ between build 1 and build 2."""


def build(settings: Settings, number: int = 1, learners: int = 50) -> None:
    """A small build database: private schemas, tables, a view, comments; `number` stands in two of its tables."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.build_database.unlink(missing_ok=True)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(f"""
            create schema staging; create schema core; create schema marts; create schema learners;
            create table staging.stg_oulad__learners as select 1 as secret;
            create table core.dim_learner as
                select
                    if(i % 2 = 0, 'oulad', 'uni_b') as source, 'learner ' || i as learner_key, {number} as build_number,
                    if(i % 2 = 0, i, null) as active_minutes, null::varchar as country
                from range({learners}) as t (i);
            create table core.dim_date as select '2024-01-01'::date + i::integer as date_on from range(10) as t (i);
            create table marts.mart_learner_course as
                select source, learner_key, {number} as build_number, random() as noise from core.dim_learner;
            create view learners.names as select source, learner_key from core.dim_learner;
            comment on table core.dim_learner is 'One row per learner; it''s "quoted"';
            comment on column core.dim_learner.active_minutes is 'Minutes; 5 % of them guessed';
            comment on view learners.names is 'Learners by name';
        """)


def publish_now(settings: Settings, suffix: str = "", **changes):
    return publish(settings, make_snapshot_id(suffix), **{"sources_info": SOURCES, "versions": VERSIONS} | changes)


def query(path, sql: str) -> list[tuple]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def read_published(settings: Settings) -> tuple:
    """(snapshot id, build numbers) as a reader of the stable path sees them, after a look at all that lies there."""
    ((snapshot_id, core, mart),) = query(
        settings.published_dir / DATABASE,
        "select any_value(p.snapshot_id), list(distinct c.build_number), list(distinct m.build_number) "
        "from _meta.publication as p, core.dim_learner as c inner join marts.mart_learner_course as m "
        "using (learner_key)",
    )
    assert core == mart
    assert len(core) == 1
    for name in ("parquet/core/dim_learner.parquet", "parquet/_meta/publication.parquet", "reports"):
        assert (settings.published_dir / name).exists()
    assert (settings.published_dir / "current").readlink().name == snapshot_id
    return snapshot_id, core[0]


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", memory_limit="500MB", threads=2, snapshots_kept=3)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home with build 1 published. To look at only: `published` is a copy to change."""
    settings = Settings(home=tmp_path_factory.mktemp("template"), memory_limit="500MB", threads=2)
    build(settings, number=1)
    publish_now(settings, "first", data_versions=DATA_VERSIONS)
    return settings


@pytest.fixture
def published(settings, template):
    shutil.copytree(template.home, settings.home, symlinks=True)
    return settings


def test_public_schemas_are_published_and_the_others_are_not(template):
    schemas = query(template.published_dir / DATABASE, "select distinct schema_name from duckdb_tables() order by all")
    assert schemas == [("_meta",), ("core",), ("learners",), ("marts",)]
    for table in ("core.dim_learner", "core.dim_date", "marts.mart_learner_course", "learners.names"):
        assert compare_tables(template, table) == []


def compare_tables(settings: Settings, table: str) -> list[tuple]:
    """Rows by which a table differs between the build database, the published file and its Parquet export."""
    parquet = settings.published_dir / "parquet" / (table.replace(".", "/") + ".parquet")
    with duckdb.connect() as connection:
        connection.execute(f"attach '{settings.build_database}' as build (read_only)")
        connection.execute(f"attach '{settings.published_dir / DATABASE}' as published (read_only)")
        return connection.execute(
            f"(from build.{table} except all from published.{table}) union all "
            f"(from published.{table} except all from '{parquet}')"
        ).fetchall()


def with_groups(settings: Settings, column: str = "country") -> None:
    build(settings)
    learner = f"uni_b:{'0123456789abcdef' * 2}"
    execute(
        settings,
        f"""
        create schema reporting; create schema ops;
        create table reporting.countries as select 'uni_b' as source, 'PE' as {column}, 40 as learner_count;
        comment on table reporting.countries is 'Learners by country';
        create table ops.pipeline_checks as
            select
                'core.dim_learner' as table_name, 'No term: {learner}:c1:t1, and {learner}.' as finding,
                false as is_passed, 3 as unexpected_row_count
            union all
            select 'core.fct_submission', 'Examples: oulad:28400:AAA:2013J and student 28400.', false, 2;
        create table ops.pipeline_status as
            select 'r1' as run_id, 'oulad' as source, 'failed' as status, 'core.fct_submission: scores' as problem;
        """,
    )


def test_the_second_file_has_groups_only_and_no_id_of_a_learner(settings):
    """28400 is the number of a student of OULAD, kept as it is; nothing in its form tells that it is one."""
    with_groups(settings)
    publication = publish_now(settings)
    database = settings.published_dir / GROUPS_DATABASE
    assert database.resolve() == publication.folder / GROUPS_DATABASE
    assert not database.stat().st_mode & 0o222
    assert query(database, "select schema_name, table_name from duckdb_tables() where schema_name != '_meta'") == [
        ("ops", "pipeline_checks"),
        ("ops", "pipeline_status"),
        ("reporting", "countries"),
    ]
    assert query(database, "from reporting.countries") == [("uni_b", "PE", 40)]
    assert query(database, "from ops.pipeline_checks") == [
        ("core.dim_learner", None, False, 3),
        ("core.fct_submission", None, False, 2),
    ]
    assert query(database, "from ops.pipeline_status") == [("r1", "oulad", "failed", "core.fct_submission: scores")]
    assert b"28400" not in database.read_bytes()
    told = query(
        settings.published_dir / DATABASE, "select finding from ops.pipeline_checks where finding like '%28400%'"
    )
    assert len(told) == 1
    assert query(database, "select description from _meta.tables where schema_name = 'reporting'") == [
        ("Learners by country",)
    ]
    assert query(database, "select distinct schema_name from _meta.columns order by all") == [("ops",), ("reporting",)]
    assert query(database, "select snapshot_id, table_count, row_count from _meta.publication") == [
        (publication.snapshot_id, 1, 1)
    ]
    assert query(settings.published_dir / DATABASE, "select table_count from _meta.publication") == [(5,)]


def test_rows_of_single_learners_in_a_schema_of_groups_stop_the_publication(settings):
    with_groups(settings, column="learner_key")
    with pytest.raises(PublishError, match=r"reporting\.countries\.learner_key.*Move the model to dbt/models/learners"):
        publish_now(settings)
    assert not (settings.published_dir / "current").exists()


def test_comments_of_tables_views_and_columns_are_kept(template):
    database = template.published_dir / DATABASE
    assert query(
        database,
        "select table_name, comment from duckdb_tables() where schema_name <> '_meta' and comment <> '' order by all",
    ) == [("dim_learner", 'One row per learner; it\'s "quoted"'), ("names", "Learners by name")]
    assert query(
        database, "select column_name, comment from duckdb_columns() where schema_name = 'core' and comment <> ''"
    ) == [("active_minutes", "Minutes; 5 % of them guessed")]


def test_meta_tells_what_the_snapshot_is_and_who_fills_its_columns(settings):
    build(settings)
    keys = {"learner_key": "core.dim_learner", "program_key": "core.dim_program"}
    publication = publish_now(settings, tables_of_keys=keys)
    assert publication.tables["core.dim_learner"] == publication.tables["learners.names"] == 50
    database = settings.published_dir / DATABASE
    assert query(
        database,
        "select snapshot_id, first_event_on, last_event_on, table_count, row_count, dbt_core_version, dagster_version, "
        "duckdb_version from _meta.publication",
    ) == [
        (publication.snapshot_id, date(2013, 9, 1), date(2024, 6, 30), 4, 160, "1.11.16", "1.13.27", duckdb.__version__)
    ]
    assert query(database, "select * from _meta.tables where table_name = 'dim_learner'") == [
        ("core", "dim_learner", 50, 'One row per learner; it\'s "quoted"', None, None, None)
    ]
    assert query(
        database,
        "select column_name, column_number, data_type, unit, description, filled_by from _meta.columns "
        "where schema_name = 'core' order by all",
    ) == [
        ("active_minutes", 4, "BIGINT", "minutes", "Minutes; 5 % of them guessed", "oulad"),
        ("build_number", 3, "INTEGER", "ordinal number", None, "oulad, uni_b"),
        ("country", 5, "VARCHAR", None, None, ""),
        ("date_on", 1, "DATE", "date", None, None),
        ("learner_key", 2, "VARCHAR", "key", None, "oulad, uni_b"),
        ("source", 1, "VARCHAR", None, None, "oulad, uni_b"),
    ]
    # The entity's own table refers to nothing.
    assert query(
        database,
        "select table_name, column_name, refers_to from _meta.columns where refers_to is not null order by all",
    ) == [
        ("mart_learner_course", "learner_key", "core.dim_learner.learner_key"),
        ("names", "learner_key", "core.dim_learner.learner_key"),
    ]
    assert query(database, "select source, contract, row_count, refused_count from _meta.sources") == [
        ("oulad", "oulad", 900, 0),
        ("uni_b", "campus", 400, 2),
    ]


@pytest.mark.parametrize(
    ("column", "data_type", "unit"),
    [
        ("completed_share", "DOUBLE", "share, 0 to 1"),
        ("seen_at", "TIMESTAMP", "timestamp, UTC"),
        ("started_on", "DATE", "date"),
        ("lateness_hours", "DOUBLE", "hours"),
        ("is_late", "BOOLEAN", "true or false"),
        ("click_count", "BIGINT", "count"),
        ("title", "VARCHAR", None),
    ],
)
def test_unit_follows_from_the_name(column, data_type, unit):
    assert find_unit(column, data_type) == unit


def test_older_clients_can_read_the_file(template):
    # Bytes 12 to 20 of the header: the version of the storage format. DuckDB 1.2, 1.3 read up to 65; 2.0 writes 999.
    versions = [
        int.from_bytes(path.read_bytes()[12:20], "little")
        for path in (template.published_dir / DATABASE, template.build_database)
    ]
    assert versions[0] == 65 < versions[1]


def test_file_is_complete_in_itself_and_not_writable(template):
    folder = template.published_dir / "current"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("call_lists", DATABASE, GROUPS_DATABASE, "parquet", "reports")
    ]
    assert (folder / DATABASE).stat().st_mode & 0o222 == 0


def test_pages_of_the_run_are_published_with_it(settings):
    build(settings)
    settings.pages_dir.mkdir(parents=True)
    (settings.pages_dir / "drivers.html").write_text("first")
    (settings.pages_dir / "half.incoming").write_text("not done")
    first = publish_now(settings)
    (settings.pages_dir / "drivers.html").write_text("second")
    publish_now(settings)
    assert [path.name for path in (settings.published_dir / "reports").iterdir()] == ["drivers.html"]
    assert (settings.published_dir / "reports" / "drivers.html").read_text() == "second"
    assert (first.folder / "reports" / "drivers.html").read_text() == "first"


def test_call_lists_are_published_in_a_folder_of_their_own_and_never_with_an_erased_learner(settings):
    build(settings)
    (settings.call_lists_dir / "changes").mkdir(parents=True)
    (settings.call_lists_dir / "index.html").write_text("the lists")
    changes = settings.call_lists_dir / "changes/2026-03-02.csv"
    changes.write_text('"oulad","oulad:ann:c1"\n')
    settings.named_call_lists_dir.mkdir()
    (settings.named_call_lists_dir / "prg.html").write_text("Ann Archer")
    first = publish_now(settings)
    lists = settings.published_dir / "call_lists"
    assert sorted(str(path.relative_to(lists)) for path in lists.rglob("*.*")) == [
        "changes/2026-03-02.csv",
        "index.html",
    ]
    assert list((settings.published_dir / "reports").iterdir()) == []
    assert not [path for path in settings.published_dir.rglob("*.html") if "Ann" in path.read_text()]
    # Of somebody who was erased and is in no table any more: a file that no run has written anew.
    erased = ErasedLearners([keyed_hash("oulad:ann", b"key")], b"key")
    with pytest.raises(PublishError, match=r"erased are in 2026-03-02\.csv"):
        publish_now(settings, erased=erased)
    assert (settings.published_dir / "current").readlink().name == first.snapshot_id
    changes.write_text('"oulad","oulad:anna:c1"\n')
    publish_now(settings, erased=erased)


def test_tables_of_python_are_published_unless_their_contract_forbids_it(settings, tmp_path):
    build(settings)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(
            "create schema analytics; create table analytics.effects as select 0.5 as effect; "
            "create table analytics.draws as select 1 as draw_number"
        )
    (tmp_path / "analytics").mkdir()
    (tmp_path / "analytics" / "_analytics__sources.yml").write_text(
        "sources: [{name: analytics, tables: [{name: effects, columns: []}, "
        "{name: draws, config: {meta: {published: false}}, columns: []}]}]"
    )
    publication = publish_now(settings, models=tmp_path)
    assert publication.tables["analytics.effects"] == 1
    assert "analytics.draws" not in publication.tables
    assert not (publication.folder / "parquet" / "analytics" / "draws.parquet").exists()
    assert query(publication.database, "select table_name from _meta.tables where schema_name = 'analytics'") == [
        ("effects",)
    ]


def test_two_publications_of_one_build_are_equal(published):
    a = (published.published_dir / "current").resolve()
    b = publish_now(published).folder
    assert a != b
    assert compare_snapshots(published, a, b) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "update core.dim_learner set country = 'GB' where learner_key = 'learner 7'",
            r"core.dim_learner: 1 rows only",
        ),
        (
            "insert into core.dim_date select date_on from core.dim_date limit 1",
            r"core.dim_date: 1 rows only in the sec",
        ),
        ("delete from core.dim_date where date_on = '2024-01-03'", r"core.dim_date: 1 rows only in the first"),
        ("alter table core.dim_date add column x integer", r"core.dim_date: other columns: \[\('x', 'INTEGER'\)\]"),
        ("drop table core.dim_date", r"core.dim_date: only in"),
        ("comment on table core.dim_date is 'new'", r"core.dim_date: other descriptions"),
    ],
)
def test_comparison_finds_a_planted_difference(published, change, difference):
    a = (published.published_dir / "current").resolve()
    with duckdb.connect(published.build_database) as connection:
        connection.execute(change)
    b = publish_now(published).folder
    found = compare_snapshots(published, a, b)
    # What `_meta` says of a changed table differs too, and nothing else does.
    planted = [text for text in found if not text.startswith("_meta.")]
    assert planted
    assert all(re.search(difference, text) for text in planted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delete from marts.mart_learner_course", "schema marts has no rows in its 1 tables"),
        (
            "drop schema core cascade; drop schema marts cascade; drop schema learners cascade",
            "schema core has no rows",
        ),
        (
            "alter table marts.mart_learner_course add column Email varchar",
            r"Email bears .* identifier \(raw_campus.lea",
        ),
        ("alter table core.dim_date add column x variant", r"core\.dim_date cannot be copied.* VARIANT columns"),
    ],
)
def test_failed_audit_leaves_the_published_snapshot_and_nothing_else(published, tmp_path, change, message):
    (tmp_path / "_campus__sources.yml").write_text(
        "sources: [{name: raw_campus, tables: [{name: learners, columns: ["
        "{name: email, data_type: varchar, config: {meta: {pii: direct}}}]}]}]"
    )
    first = (published.published_dir / "current").readlink().name
    build(published, number=2)
    with duckdb.connect(published.build_database) as connection:
        connection.execute(change)
    with pytest.raises(PublishError, match=message) as error:
        publish_now(published, models=tmp_path)
    assert f"Nothing was published; snapshot {first} is untouched" in str(error.value)
    assert read_published(published) == (first, 1)
    assert [path.name for path in (published.published_dir / "snapshots").iterdir()] == [first]


def test_rows_lost_in_the_copy_fail_the_audit(settings, monkeypatch):
    build(settings)
    copy = publish_module.copy_table

    def copy_short(connection, table, rows):
        copy(connection, table, rows)
        if table.name == "dim_learner":
            connection.execute("delete from snapshot.core.dim_learner where learner_key = 'learner 1'")

    monkeypatch.setattr(publish_module, "copy_table", copy_short)
    with pytest.raises(PublishError, match=r"core\.dim_learner has 49 rows in the copy, 50 in the build database"):
        publish_now(settings)
    assert not (settings.published_dir / DATABASE).exists()


def test_build_database_in_use_is_an_error_that_a_retry_may_cure(settings):
    build(settings)
    with duckdb.connect(settings.build_database), pytest.raises(WarehouseBusyError, match="open in another connection"):
        publish_now(settings)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PublishError('The engine says: Failed to commit: Could not write file "x": No space left on device'),
    ],
)
def test_failing_disk_is_an_error_that_a_retry_may_cure(published, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(publish_module, "_copy_pages", fail)
    with pytest.raises(PublishDiskError, match=r"The disk failed: .*No space left on device"):
        publish_now(published)
    assert read_published(published)[1] == 1


def test_something_in_the_way_of_a_stable_path_is_not_overwritten(settings):
    build(settings)
    settings.published_dir.mkdir()
    (settings.published_dir / "reports").mkdir()
    with pytest.raises(PublishError, match="reports is in the way"):
        publish_now(settings)


KILLED = """
import functools, json, os, shutil, signal, sys
from dagster_project.settings import Settings
from dagster_project.store import publish
home, function, when, versions = sys.argv[1:]

def kill_around(original):
    @functools.wraps(original)
    def call(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return call

def copy_half(source, target):
    with open(source, "rb") as file, open(target, "wb") as copy:
        copy.write(file.read(os.stat(source).st_size // 2))

if function == "copyfile":
    shutil.copyfile = copy_half
module = shutil if function == "copyfile" else publish
setattr(module, function, kill_around(getattr(module, function)))
publish.publish(
    Settings(home=home, memory_limit="500MB"),
    publish.make_snapshot_id("killed"),
    sources_info=[],
    versions={},
    data_versions=json.loads(versions),
)
"""
STEPS = ["copy_table", "write_meta", "_copy_tables", "audit", "export_parquet", "_copy_pages", "_sync_tree"]
CARRYING = ["continue_file", "copy_table", "_copy_tables", "audit", "export_parquet", "_sync_tree"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory, template):
    """Homes with snapshot 1 published, in which the publication of snapshot 2 was killed, by the point of the kill.

    The third part of a point: the data versions of that publication, as JSON.
    """
    copied, carried = "null", json.dumps(DATA_VERSIONS | NUMBERED)
    points = [
        ("_link_stable_paths", "before", copied),
        *((step, "after", copied) for step in STEPS),
        ("_swap", "before", copied),
        ("_replace_link", "before", copied),
        ("_replace_link", "after", copied),
        ("_prune", "before", copied),
        ("_prune", "after", copied),
        ("copyfile", "after", carried),  # of half the file
        *((step, "after", carried) for step in CARRYING),
        ("_swap", "before", carried),
        ("_prune", "before", carried),
    ]

    def kill(point: tuple[str, str, str]):
        home = tmp_path_factory.mktemp("killed") / "home"
        shutil.copytree(template.home, home, symlinks=True)
        build(Settings(home=home), number=2)
        process = subprocess.run([sys.executable, "-c", KILLED, str(home), *point], capture_output=True, text=True)
        assert process.returncode == -signal.SIGKILL, process.stderr
        return home

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(points, pool.map(kill, points), strict=True))


def test_kill_at_any_point_leaves_a_whole_snapshot_and_the_next_publication_cleans_up(killed):
    seen = set()
    for (function, when, versions), home in killed.items():
        settings = Settings(home=home, memory_limit="500MB")
        snapshot_id, number = read_published(settings)
        expected = 2 if function == "_prune" or (function, when) == ("_replace_link", "after") else 1
        assert (number, "killed" in snapshot_id) == (expected, expected == 2), (function, when)
        seen.add(number)
        third = publish_now(settings, "third", data_versions=json.loads(versions))
        assert read_published(settings) == (third.snapshot_id, 2)
        left = [path.name for path in (home / "published").rglob("*") if path.name.startswith(".")]
        assert left == [], (function, when)
    assert seen == {1, 2}


def test_old_snapshots_are_pruned_and_the_last_ones_kept(settings):
    build(settings)
    ids = [publish_now(settings).snapshot_id for _ in range(5)]
    assert sorted(path.name for path in (settings.published_dir / "snapshots").iterdir()) == ids[-3:]


def test_previous_snapshot_is_kept_for_the_reader_that_just_followed_the_link(settings):
    build(settings)
    settings = Settings(home=settings.home, memory_limit="500MB", snapshots_kept=1)
    first = publish_now(settings)
    resolved = (settings.published_dir / DATABASE).resolve()
    publish_now(settings)
    assert query(resolved, "select snapshot_id from _meta.publication") == [(first.snapshot_id,)]
    publish_now(settings)
    assert not first.folder.exists()


READER = """
import json, sys, time, pathlib, duckdb
path, stop = map(pathlib.Path, sys.argv[1:])
seen, reads = [], 0
print("reading", flush=True)
while not stop.exists():
    with duckdb.connect(path, read_only=True) as connection:
        rows = connection.execute(
            "select distinct p.snapshot_id, c.build_number, m.build_number from _meta.publication as p, "
            "core.dim_learner as c inner join marts.mart_learner_course as m using (learner_key)"
        ).fetchall()
    reads += 1
    if rows not in seen:
        seen.append(rows)
print(json.dumps([reads, seen]))
"""


def test_reader_in_a_loop_during_ten_publications_sees_no_error_and_no_mixture(settings, tmp_path):
    build(settings, number=0)
    published = {publish_now(settings, "0").snapshot_id: 0}
    stop = tmp_path / "stop"
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(settings.published_dir / DATABASE), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "reading\n"
    for number in range(1, 11):
        build(settings, number)
        published[publish_now(settings, str(number)).snapshot_id] = number
    stop.touch()
    output, errors = reader.communicate(timeout=10)
    assert reader.returncode == 0, errors
    reads, seen = json.loads(output)
    for rows in seen:
        ((snapshot_id, in_core, in_mart),) = rows
        assert published[snapshot_id] == in_core == in_mart
    assert reads > 20
    assert len(seen) >= 5


def test_wall_clock_columns_of_the_analytics_are_columns_of_theirs():
    contracts = read_contracts()
    for table, columns in WALL_CLOCK_COLUMNS.items():
        if table in contracts:
            assert set(columns) <= {column.name for column in contracts[table].columns}
    times = {
        f"{table}.{column.name}"
        for table, contract in contracts.items()
        for column in contract.columns
        if column.data_type.startswith("timestamp")
    }
    assert times <= {f"{table}.{column}" for table, columns in WALL_CLOCK_COLUMNS.items() for column in columns}


# --- tables carried over from the snapshot before


def carry(settings: Settings, changed: dict[str, str | None] | None = None, **arguments):
    """Publish with the versions of the first build, but for these tables."""
    return publish_now(settings, data_versions=DATA_VERSIONS | (changed or {}), **arguments)


def current(settings: Settings):
    return (settings.published_dir / "current").resolve()


def linked(a, b) -> set[str]:
    """Tables whose Parquet file is the same one in two snapshots."""
    return {
        f"{path.parent.name}.{path.stem}"
        for path in (b / "parquet").rglob("*.parquet")
        if (other := a / path.relative_to(b)).exists() and other.samefile(path)
    }


def numbers(folder, table: str) -> list[int]:
    return [number for (number,) in query(folder / DATABASE, f"select distinct build_number from {table}")]


def execute(settings: Settings, sql: str) -> None:
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(sql)


def test_tables_of_the_same_version_are_carried_over_and_the_others_replaced(published):
    before = current(published)
    bytes_before = hashlib.sha256((before / DATABASE).read_bytes()).digest()
    build(published, number=2)
    publication = carry(published, {"core.dim_learner": "learners 2"})
    # The build has number 2 in both: what has the version of the snapshot before was not even looked at.
    assert (numbers(publication.folder, "core.dim_learner"), numbers(before, "core.dim_learner")) == ([2], [1])
    assert numbers(publication.folder, "marts.mart_learner_course") == [1]
    assert linked(before, publication.folder) == DATA_VERSIONS.keys() - {"core.dim_learner"}
    assert hashlib.sha256((before / DATABASE).read_bytes()).digest() == bytes_before
    assert not (publication.folder / DATABASE).samefile(before / DATABASE)
    assert [path.name for path in sorted(publication.folder.iterdir())] == [
        "call_lists",
        DATABASE,
        GROUPS_DATABASE,
        "parquet",
        "reports",
    ]
    assert {path.stat().st_mode & 0o222 for path in publication.folder.rglob("*.*") if path.suffix != ".html"} == {0}
    assert (publication.folder / DATABASE).read_bytes()[12:20] == (before / DATABASE).read_bytes()[12:20]
    assert query(
        publication.database, "select schema_name || '.' || table_name, data_version from _meta.tables order by all"
    ) == sorted((DATA_VERSIONS | {"core.dim_learner": "learners 2"}).items())
    assert compare_tables(published, "core.dim_learner") == []


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("select 1", {}),
        ("update core.dim_learner set country = 'GB' where source = 'oulad'", {"core.dim_learner": "2"}),
        ("comment on column core.dim_date.date_on is 'Day'", {"core.dim_date": "2"}),
        ("alter table core.dim_date add column x integer", {"core.dim_date": "2"}),
        ("drop table core.dim_date", {"core.dim_date": None}),
        ("drop view learners.names", {}),
        ("create table learners.more as select 'uni_b' as source, 1 as n", {"learners.more": "1"}),
        ("create schema analytics; create table analytics.x as select 'a b' as text", {}),
        (
            "create or replace view learners.names as select source, learner_key, 1 as n from core.dim_learner",
            {"learners.names": "2"},
        ),
    ],
)
def test_a_carried_publication_equals_a_whole_one(published, change, changed):
    execute(published, change)
    carried, whole = carry(published, changed).folder, publish_now(published).folder
    assert linked(current(published), carried) == set()
    assert linked(published.published_dir / "snapshots" / first_snapshot(published), carried)
    assert compare_snapshots(published, carried, whole) == []


def first_snapshot(settings: Settings) -> str:
    return min(path.name for path in (settings.published_dir / "snapshots").iterdir())


def test_tables_and_schemas_that_are_no_more_vanish(published):
    execute(published, "drop table core.dim_date; drop schema learners cascade")
    before = current(published)
    publication = carry(published)
    assert linked(before, publication.folder) == {"core.dim_learner", "marts.mart_learner_course"}
    assert not (publication.folder / "parquet" / "learners").exists()
    schemas = query(publication.database, "select schema_name from duckdb_schemas() where not internal order by all")
    assert schemas == [("_meta",), ("core",), ("marts",)]
    assert {name for name in publication.tables if not name.startswith("_meta.")} == linked(before, publication.folder)


def test_history_of_runs_is_always_copied(published):
    execute(published, "create schema ops; create table ops.pipeline_runs as select 1 as run_number")
    versions = {"ops.pipeline_runs": "1"}
    before = carry(published, versions).folder
    execute(published, "update ops.pipeline_runs set run_number = 2")
    publication = carry(published, versions)
    assert query(publication.database, "from ops.pipeline_runs") == [(2,)]
    assert linked(before, publication.folder) == DATA_VERSIONS.keys()


def test_a_table_of_other_columns_or_comments_is_copied_whatever_its_version(published):
    before = current(published)
    execute(published, "comment on table core.dim_date is 'Days'; alter table core.dim_learner add column x integer")
    publication = carry(published)
    assert linked(before, publication.folder) == {"marts.mart_learner_course", "learners.names"}
    assert compare_tables(published, "core.dim_learner") == []


def other_engine(settings, monkeypatch):
    monkeypatch.setattr(duckdb, "__version__", "2.0.1")
    return {}


def other_code(settings, monkeypatch):
    monkeypatch.setattr(carry_over, "_hash_of", lambda paths: "0" * 64)
    return {}


def an_erasure(settings, monkeypatch):
    return {"erased": ErasedLearners(["1" * 32], b"key")}


def no_link(settings, monkeypatch):
    (settings.published_dir / "current").unlink()
    return {}


def unreadable(settings, monkeypatch):
    file = current(settings) / DATABASE
    file.chmod(0o644)
    file.write_bytes(b"no database" * 1000)
    return {}


def without_versions(settings, monkeypatch):
    file = current(settings) / DATABASE
    file.chmod(0o644)
    with duckdb.connect(file) as connection:
        connection.execute("alter table _meta.tables drop column data_version")
    return {}


def a_private_table(settings, monkeypatch):
    monkeypatch.setattr(publish_module, "find_unpublished", lambda models: {"core.dim_date"})
    return {}


def a_private_column(settings, monkeypatch):
    execute(settings, "alter table core.dim_learner drop column country")
    return {}


def a_run_that_made_all(settings, monkeypatch):
    return {"made": [*DATA_VERSIONS]}


def a_file_that_cannot_be_continued(settings, monkeypatch):
    def fail(*_):
        raise duckdb.IOException("IO Error: a block is broken")

    monkeypatch.setattr(publish_module, "continue_file", fail)
    return {}


def too_large_a_file(settings, monkeypatch):
    monkeypatch.setattr(carry_over, "GROWTH", 0.5)
    return {}


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (other_engine, "DuckDB's version changed"),
        (other_code, "code that publishes changed"),
        (an_erasure, "erased learners changed"),
        (no_link, "nothing is published yet"),
        (unreadable, "cannot be read"),
        (without_versions, "knows no versions"),
        (a_private_table, ""),
        (a_private_column, ""),
        (a_run_that_made_all, ""),
        (a_file_that_cannot_be_continued, "cannot be continued"),
        (too_large_a_file, "more than 0.5 times"),
    ],
)
def test_all_is_copied_where_nothing_may_be_carried_over(published, monkeypatch, prepare, reason):
    before = current(published)
    arguments = prepare(published, monkeypatch)
    told = []
    publication = carry(published, on_progress=told.append, **arguments)
    assert linked(before, publication.folder) == set()
    assert reason in " ".join(text for text in told if text.startswith("All tables are copied") or not reason)
    assert query(publication.database, "select count(*) from core.dim_learner") == [(50,)]
    again = carry(published, **arguments)
    may_carry = prepare not in (a_file_that_cannot_be_continued, too_large_a_file, a_run_that_made_all)
    assert bool(linked(publication.folder, again.folder)) == may_carry


def test_another_publication_key_copies_all_and_the_same_one_carries_over(published):
    without, keys = current(published), ["first publication key, long enough", "second publication key, long enough"]
    first, again, second = (
        carry(published.model_copy(update={"publication_key": Settings(publication_key=key).publication_key})).folder
        for key in (keys[0], keys[0], keys[1])
    )
    assert linked(without, first) == set() == linked(first, second)
    assert "core.dim_learner" in linked(first, again)
    assert compare_snapshots(published, first, again) == []


@pytest.mark.parametrize("versions", [None, {}, dict.fromkeys(DATA_VERSIONS), {"core.dim_date": "dates 2"}])
def test_tables_without_a_known_version_are_copied(published, versions):
    before = current(published)
    assert linked(before, publish_now(published, data_versions=versions).folder) == set()
    assert linked(current(published), carry(published).folder) == set()


def test_a_file_that_grew_too_much_is_written_whole(settings):
    build(settings)
    execute(settings, "create table core.big as select i, md5(i::varchar) as text from range(200000) as t (i)")
    sizes = []
    for number in range(6):
        execute(settings, f"update core.big set text = md5((i + {number})::varchar)")
        publication = carry(settings, {"core.big": str(number), "core.dim_learner": str(number)})
        sizes.append(publication.database.stat().st_size)
        (whole_bytes,) = query(publication.database, "select whole_bytes from _meta.publication")[0]
        assert sizes[-1] <= 1.3 * whole_bytes
        assert whole_bytes in sizes
    assert query(publication.database, "select text = md5('12') from core.big where i = 7") == [(True,)]


def test_rows_of_a_carried_table_that_are_not_as_many_as_built_stop_the_publication(published):
    before = current(published).name
    execute(published, "delete from core.dim_date where date_on = '2024-01-03'")
    with pytest.raises(
        PublishError, match=r"dim_date has 10 rows in the copy, 9 in the build database: it was carried"
    ):
        carry(published)
    assert read_published(published) == (before, 1)


def test_rows_that_a_run_made_anew_under_the_same_version_are_published(published):
    """A table of models has another row when a week has passed, though all that it follows from is the same."""
    before = current(published)
    execute(published, "delete from core.dim_date where date_on = '2024-01-03'")
    publication = carry(published, made=["core.dim_date"])
    assert query(publication.database, "select count(*) from core.dim_date") == [(9,)]
    assert linked(before, publication.folder) == DATA_VERSIONS.keys() - {"core.dim_date"}


def test_parquet_is_copied_where_it_cannot_be_linked_and_exported_where_it_is_damaged(published, monkeypatch):
    before = current(published)
    damaged = before / "parquet" / "core" / "dim_date.parquet"
    damaged.chmod(0o644)
    damaged.write_bytes(b"PAR1")

    def fail(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    publication = carry(published)
    assert linked(before, publication.folder) == set()
    for table in DATA_VERSIONS:
        assert compare_tables(published, table) == []
    inner = "parquet/marts/mart_learner_course.parquet"
    assert (publication.folder / inner).read_bytes() == (before / inner).read_bytes()
    assert (publication.folder / inner).stat().st_mode & 0o222 == 0


def test_carried_parquet_outlives_the_snapshot_that_it_was_made_for(published):
    first = current(published)
    inode = (first / "parquet" / "core" / "dim_date.parquet").stat().st_ino
    for _ in range(4):
        publication = carry(published)
    assert not first.exists()
    assert (publication.folder / "parquet" / "core" / "dim_date.parquet").stat().st_ino == inode
    for table in DATA_VERSIONS:
        assert compare_tables(published, table) == []


@pytest.fixture
def identities(settings, tmp_path):
    """An identity store of one person, Bob; `add` adds Ann."""
    path = tmp_path / "people.parquet"
    duckdb.sql(f"copy (select 'Bob Baker' as full_name) to '{path}'")
    return {path: ["full_name"]}


def add_ann(identities) -> None:
    (path,) = identities
    duckdb.sql(f"copy (select unnest(['Bob Baker', 'Ann Archer']) as full_name) to '{path}'")


@pytest.mark.parametrize("is_generated", [False, True])
def test_identifiers_are_searched_in_what_changed_and_everywhere_once_there_are_others(
    settings, identities, is_generated
):
    if is_generated:
        settings.identity_dir.mkdir(parents=True)
        settings.generated_key_file.write_text("a generated key")
    else:
        settings = settings.model_copy(
            update={"pseudonym_key": Settings(pseudonym_key="0123456789ab" * 4).pseudonym_key}
        )
    build(settings)
    execute(settings, "create table core.notes as select 'see Ann Archer' as note")
    versions = {"core.notes": "1"}
    first = carry(settings, versions, identities=identities)
    second = carry(settings, versions | {"learners.names": "2"}, identities=identities)
    assert (first.searched.earlier, second.searched.earlier) == (0, 6)
    assert second.searched.columns == first.searched.columns - 6
    assert linked(first.folder, second.folder) == {*DATA_VERSIONS, "core.notes"} - {"learners.names"}
    add_ann(identities)
    with pytest.raises(PublishedIdentifierError, match=r"core\.notes\.note holds direct identifiers") as error:
        carry(settings, versions | {"learners.names": "2"}, identities=identities)
    assert error.value.columns == {"core.notes.note": 1}
    assert current(settings) == second.folder


def test_an_identifier_in_a_changed_table_is_found_while_the_others_are_not_searched(settings, identities):
    settings = settings.model_copy(update={"pseudonym_key": Settings(pseudonym_key="0123456789ab" * 4).pseudonym_key})
    build(settings)
    carry(settings, identities=identities)
    execute(settings, "update core.dim_learner set country = 'of bob baker' where learner_key = 'learner 7'")
    with pytest.raises(PublishedIdentifierError, match=r"core\.dim_learner\.country holds"):
        carry(settings, {"core.dim_learner": "2"}, identities=identities)


def test_without_a_key_all_is_searched_each_time(published, identities):
    publications = [carry(published, identities=identities) for _ in range(2)]
    assert publications[0].searched == publications[1].searched
    assert publications[1].searched.earlier == 0
    assert linked(*(x.folder for x in publications)) == DATA_VERSIONS.keys()


def test_column_names_are_audited_in_carried_tables_too(published, tmp_path):
    (tmp_path / "_campus__sources.yml").write_text(
        "sources: [{name: raw_campus, tables: [{name: learners, columns: ["
        "{name: country, data_type: varchar, config: {meta: {pii: direct}}}]}]}]"
    )
    with pytest.raises(PublishedIdentifierError, match=r"dim_learner\.country bears the name of a direct identifier"):
        carry(published, models=tmp_path)
