"""A publication is all or nothing: for readers at any moment, after a failed audit, and after kill -9 at any point."""

import json
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import duckdb
import pytest

from dagster_project.base.errors import PublishDiskError, PublishError, WarehouseBusyError
from dagster_project.contracts.tables import read_contracts
from dagster_project.settings import Settings
from dagster_project.store import publish as publish_module
from dagster_project.store.meta import SourceInfo, find_unit
from dagster_project.store.publish import DATABASE, WALL_CLOCK_COLUMNS, compare_snapshots, make_snapshot_id, publish

SOURCES = [
    SourceInfo("uni_b", "campus", date(2024, 2, 1), date(2024, 6, 30), 3, 400, 2),
    SourceInfo("oulad", "oulad", date(2013, 9, 1), date(2014, 10, 1), 7, 900, 0),
]
VERSIONS = {"dbt-core": "1.11.16", "dagster": "1.13.27"}


def build(settings: Settings, number: int = 1, learners: int = 50) -> None:
    """A small build database: private schemas, tables, a view, comments; `number` stands in two of its tables."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.build_database.unlink(missing_ok=True)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(f"""
            create schema staging; create schema core; create schema marts; create schema reporting;
            create table staging.stg_oulad__learners as select 1 as secret;
            create table core.dim_learner as
                select
                    if(i % 2 = 0, 'oulad', 'uni_b') as source, 'learner ' || i as learner_key, {number} as build_number,
                    if(i % 2 = 0, i, null) as active_minutes, null::varchar as country
                from range({learners}) as t (i);
            create table core.dim_date as select '2024-01-01'::date + i::integer as date_on from range(10) as t (i);
            create table marts.mart_learner_course as
                select source, learner_key, {number} as build_number, random() as noise from core.dim_learner;
            create view reporting.learners as select source, learner_key from core.dim_learner;
            comment on table core.dim_learner is 'One row per learner; it''s "quoted"';
            comment on column core.dim_learner.active_minutes is 'Minutes; 5 % of them guessed';
            comment on view reporting.learners is 'Learners by name';
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
    publish_now(settings, "first")
    return settings


@pytest.fixture
def published(settings, template):
    shutil.copytree(template.home, settings.home, symlinks=True)
    return settings


def test_public_schemas_are_published_and_the_others_are_not(template):
    schemas = query(template.published_dir / DATABASE, "select distinct schema_name from duckdb_tables() order by all")
    assert schemas == [("_meta",), ("core",), ("marts",), ("reporting",)]
    for table in ("core.dim_learner", "core.dim_date", "marts.mart_learner_course", "reporting.learners"):
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


def test_comments_of_tables_views_and_columns_are_kept(template):
    database = template.published_dir / DATABASE
    assert query(
        database,
        "select table_name, comment from duckdb_tables() where schema_name <> '_meta' and comment <> '' order by all",
    ) == [("dim_learner", 'One row per learner; it\'s "quoted"'), ("learners", "Learners by name")]
    assert query(
        database, "select column_name, comment from duckdb_columns() where schema_name = 'core' and comment <> ''"
    ) == [("active_minutes", "Minutes; 5 % of them guessed")]


def test_meta_tells_what_the_snapshot_is_and_who_fills_its_columns(settings):
    build(settings)
    publication = publish_now(settings)
    assert publication.tables["core.dim_learner"] == publication.tables["reporting.learners"] == 50
    database = settings.published_dir / DATABASE
    assert query(
        database,
        "select snapshot_id, first_event_on, last_event_on, table_count, row_count, dbt_core_version, dagster_version, "
        "duckdb_version from _meta.publication",
    ) == [
        (publication.snapshot_id, date(2013, 9, 1), date(2024, 6, 30), 4, 160, "1.11.16", "1.13.27", duckdb.__version__)
    ]
    assert query(database, "select * from _meta.tables where table_name = 'dim_learner'") == [
        ("core", "dim_learner", 50, 'One row per learner; it\'s "quoted"')
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
    assert sorted(path.name for path in folder.iterdir()) == [DATABASE, "parquet", "reports"]
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
            "drop schema core cascade; drop schema marts cascade; drop schema reporting cascade",
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
import functools, json, os, signal, sys
from dagster_project.settings import Settings
from dagster_project.store import publish
home, function, when = sys.argv[1:]

def kill_around(original):
    @functools.wraps(original)
    def call(*args, **kwargs):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return call

setattr(publish, function, kill_around(getattr(publish, function)))
publish.publish(
    Settings(home=home, memory_limit="500MB"), publish.make_snapshot_id("killed"), sources_info=[], versions={}
)
"""
STEPS = ["copy_table", "write_meta", "_copy_tables", "audit", "export_parquet", "_copy_pages", "_sync_tree"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory, template):
    """Homes with snapshot 1 published, in which the publication of snapshot 2 was killed, by the point of the kill."""
    points = [
        ("_link_stable_paths", "before"),
        *((step, "after") for step in STEPS),
        ("_swap", "before"),
        ("_replace_link", "before"),
        ("_replace_link", "after"),
        ("_prune", "before"),
        ("_prune", "after"),
    ]

    def kill(point: tuple[str, str]):
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
    for (function, when), home in killed.items():
        settings = Settings(home=home, memory_limit="500MB")
        snapshot_id, number = read_published(settings)
        expected = 2 if function == "_prune" or (function, when) == ("_replace_link", "after") else 1
        assert (number, "killed" in snapshot_id) == (expected, expected == 2), (function, when)
        seen.add(number)
        third = publish_now(settings, "third")
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
