"""Every engine is opened at one place, within the limits of the settings, and fetches nothing from elsewhere."""

import ast
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import dagster_project
from dagster_project.base import engine
from dagster_project.base.engine import attach, open_database, open_engine
from dagster_project.base.errors import StoreError
from dagster_project.base.sql import identifier, literal
from dagster_project.settings import Settings

PACKAGE = Path(dagster_project.__file__).parent
OPENER = "base/engine.py"


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, memory_limit="64MB", threads=2)


def _opens_duckdb(tree: ast.AST) -> bool:
    """`duckdb.connect(…)` or `from duckdb import connect`, under whatever name."""
    nodes = list(ast.walk(tree))
    aliases = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names = {alias.asname or alias.name for alias in aliases if alias.name == "duckdb"}
    taken = [
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "duckdb"
        for alias in node.names
    ]
    called = [node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "connect"]
    return "connect" in taken or any(isinstance(value, ast.Name) and value.id in names for value in called)


@pytest.mark.parametrize(
    "text", ["import duckdb\nduckdb.connect()", "import duckdb as d\nwith d.connect('x') as c: pass"]
)
def test_the_search_finds_an_engine(text):
    assert _opens_duckdb(ast.parse(text))


def test_duckdb_is_opened_at_one_place_only():
    files = sorted(PACKAGE.rglob("*.py"))
    found = [str(file.relative_to(PACKAGE)) for file in files if _opens_duckdb(ast.parse(file.read_text()))]

    assert found == [OPENER]


def test_an_engine_keeps_to_the_settings_and_installs_nothing(settings, tmp_path):
    with open_engine(settings, tmp_path / "apart") as connection:
        asked = ("memory_limit", "threads", "TimeZone", "temp_directory")
        asked += ("autoinstall_known_extensions", "autoload_known_extensions")
        found = connection.execute(f"select {', '.join(f'current_setting({name!r})' for name in asked)}").fetchone()

    assert found == ("61.0 MiB", 2, "UTC", str(tmp_path / "apart"), False, False)


def test_times_with_a_zone_are_utc_whatever_the_zone_of_the_machine(settings, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with open_engine(settings) as connection:
        ((found,),) = connection.execute("select cast(timestamptz '2024-01-31 10:00+02' as timestamp)").fetchall()

    assert found == datetime(2024, 1, 31, 8)


def test_a_database_is_read_without_an_alias_and_cannot_be_written(settings, tmp_path):
    with open_engine(settings) as connection:
        attach(connection, tmp_path / "some.duckdb", "made", "read_write")
        connection.execute("create schema made.core; create table made.core.things as select 7 as n")

    with open_database(settings, tmp_path / "some.duckdb") as connection:
        assert connection.execute("select n from core.things").fetchall() == [(7,)]
        with pytest.raises(Exception, match="read-only"):
            connection.execute("delete from core.things")


def test_a_path_and_a_name_with_quotes_are_read_as_they_are(settings, tmp_path):
    path = tmp_path / "O'Brien's" / 'the "last" one.parquet'
    path.parent.mkdir()
    with open_engine(settings) as connection:
        name = identifier('a "b"; --')
        connection.execute(f"copy (select 7 as {name}) to {literal(path)} (format parquet)")
        found = connection.execute(f"select {name} from read_parquet({literal(path)})").fetchall()

    assert found == [(7,)]
    assert [literal(x) for x in (None, "O'Brien")] == ["null", "'O''Brien'"]


def test_a_database_that_is_not_there_is_told_and_not_made(settings, tmp_path):
    with pytest.raises(StoreError, match="nothing has been built yet"), open_database(settings, tmp_path / "no.duckdb"):
        pass

    assert not (tmp_path / "no.duckdb").exists()


def test_a_database_is_free_for_others_when_it_was_read_and_no_reader_finds_what_another_left(settings, tmp_path):
    file = tmp_path / "made.duckdb"
    with open_database(settings, file, options="read_write") as connection:
        connection.execute("create table numbers as select 1 as n")
        connection.execute("create temp table left_over as select 2 as n")
        connection.register("frame", pd.DataFrame({"n": [3]}))
        connection.execute("set variable told = 4")
    # As dbt does: in this process, and for writing.
    with duckdb.connect(file) as connection:
        connection.execute("insert into numbers values (5)")
    with open_database(settings, file) as connection:
        assert connection.execute("select sum(n) from numbers").fetchall() == [(6,)]
        assert connection.execute("select getvariable('told')").fetchall() == [(None,)]
        for name in ("left_over", "frame"):
            with pytest.raises(duckdb.CatalogException):
                connection.execute(f"from {name}")
        with open_database(settings, file) as second:  # two at once, each with an engine of its own
            assert second.execute("from numbers order by n").fetchall() == [(1,), (5,)]
            assert len(engine._IDLE) == 0
    assert len(engine._IDLE) == 1


@pytest.mark.parametrize("leave", ["create table memory.x as select 1 as n", "attach ':memory:' as other"])
def test_an_engine_in_which_something_is_left_is_not_given_to_the_next(settings, tmp_path, leave):
    with open_database(settings, tmp_path / "made.duckdb", options="read_write") as connection:
        connection.execute(leave)
    assert engine._IDLE == []


def test_an_engine_is_closed_when_its_use_failed_and_where_limits_differ(settings, tmp_path):
    with open_database(settings, tmp_path / "made.duckdb", options="read_write"):
        pass
    with pytest.raises(ZeroDivisionError), open_database(settings, tmp_path / "made.duckdb"):
        raise ZeroDivisionError
    assert engine._IDLE == []
    with open_database(settings, tmp_path / "made.duckdb"):
        pass
    with open_database(Settings(home=tmp_path, memory_limit="32MB", threads=1), tmp_path / "made.duckdb") as connection:
        assert connection.execute("select current_setting('threads')").fetchall() == [(1,)]
