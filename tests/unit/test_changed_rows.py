"""A large table that changed is continued: its rows are those of the build, and what did not change is not written."""

from pathlib import Path

import duckdb
import pytest

from dagster_project.base.errors import PublishedIdentifierError
from dagster_project.settings import Settings
from dagster_project.store import carry_over, parquet
from dagster_project.store.changed_rows import replace_changed_rows
from dagster_project.store.meta import Column, Table
from dagster_project.store.publish import DATABASE, compare_snapshots, make_snapshot_id, publish

VERSIONS = {"marts.mart_day": "1", "core.fct_visit": "1"}
MONTHS = {"2023-11", "2023-12", "2024-01", "2024-02", "undated"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A warehouse with 4,000 visits of 100 days, of 40 learners, one of them twice, one without a day; published."""
    monkeypatch.setattr(carry_over, "LEAST_ROWS", 1000)
    monkeypatch.setattr(parquet, "MONTHS_FROM", 1000)
    settings = Settings(home=tmp_path, pseudonym_key="0123456789ab" * 4)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("""
            create schema core; create schema marts;
            create table marts.mart_day as select date '2024-01-01' + i::integer as date_on from range(10) as t (i);
            create table core.dim_learner as select 'uni:' || md5(i::varchar) as learner_key from range(40) as t (i);
            create table core.fct_visit as
                select
                    'uni' as source, 'uni:' || md5((i % 40)::varchar) as learner_key,
                    date '2023-11-10' + (i // 40)::integer as visited_on, i % 7 as page_count, 0.5 * i as minutes,
                    null::varchar as note
                from range(4000) as t (i);
            insert into core.fct_visit from core.fct_visit where minutes = 1.5;
            update core.fct_visit set visited_on = null where minutes = 5;
            comment on table core.fct_visit is 'Visits';
        """)
    publish_now(settings)
    return settings


def publish_now(settings, version="1", **arguments):
    told = []
    publication = publish(
        settings,
        make_snapshot_id(),
        sources_info=[],
        versions={},
        parts_by={"core.fct_visit": "visited_on"},
        on_progress=told.append,
        **{"data_versions": VERSIONS | {"core.fct_visit": version}} | arguments,
    )
    return publication, " ".join(told)


def change(settings, sql):
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(sql)


def written(before, after) -> set[str]:
    """Parts of the export that are no links to those of the snapshot before."""
    files = (after / "parquet/core/fct_visit").iterdir()
    there = before / "parquet/core/fct_visit"
    return {x.stem for x in files if not ((other := there / x.name).exists() and other.samefile(x))}


def rows_of(folder, relation) -> list[tuple]:
    with duckdb.connect(folder / DATABASE, read_only=True) as connection:
        return connection.execute(f"from {relation} order by all").fetchall()


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("select 1", set()),
        ("update core.fct_visit set page_count = 100 where visited_on = date '2024-02-03'", {"2024-02"}),
        ("delete from core.fct_visit where visited_on = date '2023-12-24'", {"2023-12"}),
        ("delete from core.fct_visit where visited_on < date '2023-11-14' or visited_on is null", {"2023-11"}),
        # The row that stood there twice stands there once.
        (
            "create or replace table core.fct_visit as from core.fct_visit union from core.fct_visit;"
            "comment on table core.fct_visit is 'Visits'",
            {"2023-11"},
        ),
        # The same rows, as many in all, and others of them twice.
        (
            "insert into core.fct_visit from core.fct_visit where visited_on = date '2024-01-05';"
            "delete from core.fct_visit where visited_on = date '2024-01-06'",
            {"2024-01"},
        ),
        ("update core.fct_visit set visited_on = date '2024-02-09' where visited_on is null", {"2024-02"}),
        ("update core.fct_visit set note = 'ok' where minutes = 1000 or visited_on is null", {"2023-12", "undated"}),
        # Rows in another order are no other rows.
        (
            "create or replace table core.fct_visit as from core.fct_visit order by hash(minutes);"
            "comment on table core.fct_visit is 'Visits'",
            set(),
        ),
    ],
)
def test_the_rows_are_those_of_the_build_and_only_their_months_are_written(settings, sql, parts):
    first = (settings.published_dir / "current").resolve()
    change(settings, sql)
    second, told = publish_now(settings, "2")
    assert "1 of 3 tables carried over and 1 continued" in told
    assert written(first, second.folder) == parts
    whole, _ = publish_now(settings, data_versions=None)
    assert compare_snapshots(settings, second.folder, whole.folder) == []
    with duckdb.connect(settings.build_database, read_only=True) as connection:
        built = connection.execute("from core.fct_visit order by all").fetchall()
    assert rows_of(second.folder, "core.fct_visit") == built
    exported = f"read_parquet('{second.folder}/parquet/core/fct_visit/*.parquet')"
    assert rows_of(second.folder, exported) == rows_of(second.folder, "core.fct_visit")
    assert (whole.folder / "parquet/marts/mart_day.parquet").is_file()


def test_under_a_publication_key_the_rows_are_those_under_other_pseudonyms(settings):
    key = Settings(publication_key="a publication key, long enough").publication_key
    settings = settings.model_copy(update={"publication_key": key})
    first, _ = publish_now(settings)
    change(settings, "update core.fct_visit set page_count = 100 where visited_on = date '2024-02-03'")
    second, told = publish_now(settings, "2")
    assert "1 continued" in told
    assert written(first.folder, second.folder) == {"2024-02"}
    whole, _ = publish_now(settings, data_versions=None)
    assert compare_snapshots(settings, second.folder, whole.folder) == []


def test_parts_are_months_or_years_and_an_empty_table_has_a_file(settings, monkeypatch):
    folder = settings.published_dir / "parquet/core/fct_visit"
    assert {x.stem for x in folder.iterdir()} == MONTHS
    monkeypatch.setattr(parquet, "MONTHS_FROM", 10_000)
    publish_now(settings, "2")
    assert {x.stem for x in folder.iterdir()} == {"2023", "2024", "undated"}
    change(settings, "delete from core.fct_visit")
    publish_now(settings, "3")
    (file,) = folder.iterdir()
    assert duckdb.sql(f"select count(*), count(visited_on) from '{file}'").fetchall() == [(0, 0)]


def test_many_parts_are_written_in_one_pass_and_hold_the_same(settings, monkeypatch):
    apart, _ = publish_now(settings, data_versions=None)
    monkeypatch.setattr(parquet, "PARTS_AT_ONCE", 1)
    at_once, _ = publish_now(settings, data_versions=None)
    assert not list(at_once.folder.glob(".*"))
    for part in MONTHS:
        files = [x.folder / f"parquet/core/fct_visit/{part}.parquet" for x in (apart, at_once)]
        one, other = (duckdb.sql(f"from '{file}' order by all").fetchall() for file in files)
        assert one == other
        assert (
            duckdb.sql(f"describe from '{files[1]}'").fetchall() == duckdb.sql(f"describe from '{files[0]}'").fetchall()
        )


def test_a_table_of_which_much_changed_is_written_whole(settings):
    first, _ = publish_now(settings)
    change(settings, "update core.fct_visit set page_count = page_count + 1 where page_count > 1")
    second, told = publish_now(settings, "2")
    assert "1 carried over and 0 continued" in told.replace("1 of 3 tables", "1")
    assert written(first.folder, second.folder) == MONTHS


def test_other_columns_or_comments_make_it_whole(settings):
    publish_now(settings)
    change(settings, "alter table core.fct_visit add column is_late boolean")
    assert "0 continued" in publish_now(settings, "2")[1]
    change(settings, "comment on column core.fct_visit.note is 'A note'")
    assert "0 continued" in publish_now(settings, "3")[1]


def test_a_damaged_part_is_written_again(settings):
    first, _ = publish_now(settings)
    for name, content in {"2023-12": b"PAR1", "2024-01": None}.items():
        file = first.folder / f"parquet/core/fct_visit/{name}.parquet"
        file.unlink()
        if content:
            file.write_bytes(content)
    second, _ = publish_now(settings)
    rows = rows_of(second.folder, f"read_parquet('{second.folder}/parquet/core/fct_visit/*.parquet')")
    assert rows == rows_of(second.folder, "core.fct_visit")


def test_a_name_in_a_new_row_stops_the_publication_and_old_rows_are_not_searched_again(settings, tmp_path):
    people = tmp_path / "people.parquet"
    duckdb.sql(f"copy (select 'Ann Archer' as full_name) to '{people}'")
    first, _ = publish_now(settings, identities={people: ["full_name"]})
    change(settings, "update core.fct_visit set note = 'of ann archer' where visited_on = date '2024-02-03'")
    with pytest.raises(PublishedIdentifierError, match=r"core\.fct_visit\.note holds direct identifiers"):
        publish_now(settings, "2", identities={people: ["full_name"]})
    assert (settings.published_dir / "current").resolve() == first.folder.resolve()
    change(settings, "update core.fct_visit set note = 'of a friend' where note is not null")
    second, told = publish_now(settings, "3", identities={people: ["full_name"]})
    assert "1 continued" in told
    assert not list(second.folder.glob(".*"))


def test_hashes_tell_apart_what_stands_in_neighbouring_columns():
    """Each pair of rows has the same values, in other columns or as another kind of nothing."""
    rows = "('a', 'b', 1, 2.0, null::date), ('', null, 0, null, null), ('x', 'y', 3, 4.0, date '2024-01-01')"
    others = "('b', 'a', 1, 2.0, null::date), (null, '', 0, null, null), ('x', 'y', 4, 3.0, date '2024-01-01')"
    columns = tuple(Column(name, "INTEGER", None) for name in "vwxyz")  # no texts: nothing is to be searched
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as snapshot; create schema snapshot.core")
        same = "select 's', 's', i, i / 2.0, date '2024-01-01' from range(100) as t (i)"
        connection.execute("create table snapshot.core.t (v varchar, w varchar, x int, y double, z date)")
        connection.execute(f"insert into snapshot.core.t select * from (values {rows}) union all {same}")
        query = f"select * from (values {others}) as t (v, w, x, y, z) union all {same}"
        found = replace_changed_rows(connection, Table("core", "t", None, columns), query, "year(z)::varchar", Path())
        left = connection.execute("from snapshot.core.t order by all").fetchall()
        assert left == connection.execute(f"from ({query}) order by all").fetchall()
    assert found is not None
