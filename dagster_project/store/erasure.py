"""Learners who are to be forgotten, in the build database and in what is published."""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from dagster_project.base.engine import attach, open_engine
from dagster_project.base.errors import PublishError
from dagster_project.base.files import replaced
from dagster_project.base.keyed_hash import keyed_hash, keyed_hash_sql, set_key
from dagster_project.base.sql import identifier, literal
from dagster_project.settings import Settings

_CATALOG = "warehouse"
_KEY_IN_TEXT = re.compile(r"[A-Za-z0-9][\w.-]*:[\w.%-]+")


@dataclass(frozen=True)
class ErasedLearners:
    """Learners of whom nothing is left but keyed hashes of their `learner_key`."""

    tombstones: Collection[str]
    key: bytes = field(repr=False)


def remove_learners(settings: Settings, erased: ErasedLearners) -> dict[str, int]:
    """Remove learners from the build database and from the files of the append-only tables.

    Call it while holding the `WriteLock`. What was computed from their rows stays, until a run computes it anew.

    Returns:
        Rows removed, by table.
    """
    removed: dict[str, int] = {}
    with open_engine(settings) as connection:
        set_key(connection, erased.key)
        for path in _append_only_files(settings):
            _add(removed, f"files of {path.parent.name}", _rewrite(connection, path, erased))
        if settings.build_database.exists():
            attach(connection, settings.build_database, _CATALOG, "read_write")
            for table, columns in _tables(connection):
                _add(removed, _name(table), _delete(connection, table, columns, erased))
    return removed


def are_kept(settings: Settings, erased: ErasedLearners) -> bool:
    """Whether a file of an append-only table holds one of these learners, whom raw may hold no longer."""
    with open_engine(settings) as connection:
        set_key(connection, erased.key)
        return any(_in_file(connection, path, erased)[1] for path in _append_only_files(settings))


def count_learners(settings: Settings, database: Path, erased: ErasedLearners) -> dict[str, int]:
    """Rows of these learners by table of a database, tables without any left out."""
    found: dict[str, int] = {}
    with open_engine(settings) as connection:
        set_key(connection, erased.key)
        attach(connection, database, _CATALOG)
        for table, columns in _tables(connection):
            _add(found, _name(table), _count(connection, table, columns, erased))
    return found


def check_nobody_erased(settings: Settings, erased: ErasedLearners) -> None:
    """Refuse to publish a build database in which an erased learner is.

    Raises:
        PublishError: with the tables.
    """
    if erased.tombstones and (found := count_learners(settings, settings.build_database, erased)):
        raise PublishError(
            "Learners who were erased are in the build database: "
            + ", ".join(f"{table} ({count:,} rows)" for table, count in found.items())
            + ". Run the source again: it removes them first"
        )


def names_erased(text: str, erased: ErasedLearners) -> bool:
    """Whether the key of an erased learner stands in a page or a file of text."""
    keys = set(_KEY_IN_TEXT.findall(text))
    return any(keyed_hash(key, erased.key) in erased.tombstones for key in keys)


def remove_earlier_snapshots(settings: Settings, snapshot_id: str) -> int:
    """Remove every published snapshot but this one; who has one open keeps it until they close it. Returns how many."""
    earlier = [path for path in (settings.published_dir / "snapshots").iterdir() if path.name != snapshot_id]
    for path in earlier:
        doomed = path if path.name.startswith(".") else path.with_name(f".removed-{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)
    return len(earlier)


def compact_build_database(settings: Settings) -> None:
    """Copy the build database: in its file, deleted rows stay readable until their blocks are used again."""
    with replaced(settings.build_database, synced=True) as fresh, open_engine(settings) as connection:
        attach(connection, settings.build_database, _CATALOG)
        attach(connection, fresh, "fresh", "read_write")
        connection.execute(f"copy from database {_CATALOG} to fresh")
        connection.execute("checkpoint fresh")


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, dict[str, str]]]:
    """Tables that have columns about learners, and for each such column the SQL of the learner's key.

    Every key of a learner's rows begins with their own, `<source>:<learner>` (macro entity_key).
    """
    found: dict[tuple[str, str], list[str]] = {}
    rows = connection.execute(
        "select columns.schema_name, columns.table_name, column_name from duckdb_columns() as columns "
        "inner join duckdb_tables() as tables using (database_name, schema_name, table_name) "
        "where columns.database_name = ? and data_type = 'VARCHAR' order by all",
        [_CATALOG],
    ).fetchall()
    for schema, table, column in rows:
        found.setdefault((schema, table), []).append(column)
    return [
        (".".join(map(identifier, (_CATALOG, *table))), owners)
        for table, columns in found.items()
        if (owners := _owners(columns))
    ]


def _owners(columns: Sequence[str]) -> dict[str, str]:
    """SQL of the learner's key by column; of other things' keys it gives what no learner has."""
    owners = {}
    for column in columns:
        name = identifier(column)
        if column in ("learner_key", "grader_key"):
            owners[column] = name
        elif column == "learner_id" and "source" in columns:
            owners[column] = f"source || ':' || {name}"
        elif column.endswith("_key"):
            owners[column] = f"case when {name} like '%:%:%' then regexp_extract({name}, '^[^:]*:[^:]*') end"
    return owners


def _people(
    connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], erased: ErasedLearners
) -> list[str]:
    """Keys of the erased learners who are in a table."""
    tombstones = ", ".join(map(literal, erased.tombstones))
    found: set[str] = set()
    for owner in columns.values():
        query = f"select distinct {owner} as person from {table}"
        query = f"select person from ({query}) where {keyed_hash_sql('person')} in ({tombstones})"
        found.update(person for (person,) in connection.execute(query).fetchall())
    return sorted(found)


def _condition(columns: dict[str, str], people: list[str]) -> str:
    listed = ", ".join(map(literal, people))
    return " or ".join(f"coalesce({owner} in ({listed}), false)" for owner in columns.values())


def _count(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], erased: ErasedLearners) -> int:
    people = _people(connection, table, columns, erased)
    if not people:
        return 0
    return connection.execute(f"select count(*) from {table} where {_condition(columns, people)}").fetchall()[0][0]


def _delete(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], erased: ErasedLearners) -> int:
    people = _people(connection, table, columns, erased)
    if not people:
        return 0
    return connection.execute(f"delete from {table} where {_condition(columns, people)}").fetchall()[0][0]


def _append_only_files(settings: Settings) -> list[Path]:
    return sorted((settings.artifacts_dir / "append_only").glob("*/*.parquet"))


def _in_file(
    connection: duckdb.DuckDBPyConnection, path: Path, erased: ErasedLearners
) -> tuple[dict[str, str], list[str]]:
    """The columns of a Parquet file that are about learners, and the keys of the erased ones in it."""
    relation = f"read_parquet({literal(path)})"
    described = connection.execute(f"describe from {relation}").fetchall()
    columns = _owners([name for name, data_type, *_ in described if data_type == "VARCHAR"])
    return columns, _people(connection, relation, columns, erased)


def _rewrite(connection: duckdb.DuckDBPyConnection, path: Path, erased: ErasedLearners) -> int:
    """Replace a Parquet file of an append-only table by one without the learner; returns the rows removed."""
    relation = f"read_parquet({literal(path)})"
    columns, people = _in_file(connection, path, erased)
    if not people:
        return 0
    condition = _condition(columns, people)
    count = connection.execute(f"select count(*) from {relation} where {condition}").fetchall()[0][0]
    with replaced(path, synced=True) as incoming:
        rest = f"from {relation} where not ({condition})"
        connection.execute(f"copy ({rest}) to {literal(incoming)} (format parquet)").fetchall()
        times = path.stat()
        os.utime(incoming, ns=(times.st_atime_ns, times.st_mtime_ns))  # when the rows were written is still asked for
    return count


def _add(removed: dict[str, int], place: str, count: int) -> None:
    if count:
        removed[place] = removed.get(place, 0) + count


def _name(table: str) -> str:
    return table.replace('"', "").removeprefix(f"{_CATALOG}.")
