"""The Parquet export of a snapshot: a file a table, or a folder of files by time for a table of many rows.

    parquet/<schema>/<table>.parquet            one file
    parquet/<schema>/<table>/<year>.parquet     of a table that says by which date; by month where there are many rows

What has not changed since the snapshot before is a link to the same bytes.
"""

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.base.engine import attach, one_row, open_engine
from dagster_project.base.errors import PublishError
from dagster_project.base.sql import identifier, literal, qualified
from dagster_project.settings import Settings

FOLDER = "parquet"
MONTHS_FROM = 1_000_000
"""Rows from which a table's parts are months, and not years."""
UNDATED = "undated"
PARTS_AT_ONCE = 12
"""More of them are written in one pass over the table."""
AT_ONCE = ".parts"
OPTIONS = "format parquet, compression zstd"


@dataclass(frozen=True)
class Earlier:
    """The export of the snapshot before.

    Attributes:
        folder: of the snapshot.
        changed: by "schema.table" of what need not be written whole, the parts in which something changed; of a table
            without parts nothing may have.
    """

    folder: Path
    changed: Mapping[str, Collection[str]]


def part_of_row(column: str, row_count: int) -> str:
    """SQL of the part that a row is in, by a column of dates or times.

    Args:
        row_count: of the table.
    """
    by = "%Y-%m" if row_count >= MONTHS_FROM else "%Y"
    return f"coalesce(strftime({identifier(column)}, '{by}'), '{UNDATED}')"


def _rows_of_part(column: str, part: str) -> str:
    """Predicate of the rows of a part: a range, by which the engine passes over most of a table."""
    if part == UNDATED:
        return f"{identifier(column)} is null"
    first, length = (f"{part}-01", "month") if "-" in part else (f"{part}-01-01", "year")
    return f"{identifier(column)} >= date '{first}' and {identifier(column)} < date '{first}' + interval 1 {length}"


def export_parquet(
    settings: Settings,
    database: Path,
    counts: Mapping[str, int],
    parts_by: Mapping[str, str] | None = None,
    earlier: Earlier | None = None,
) -> None:
    """Write each table of a snapshot's file as Parquet, or link what the snapshot before has of it.

    Writing reads every row back before it is shown to anyone.

    Args:
        database: the snapshot's file; the export goes beside it.
        counts: rows by "schema.table".
        parts_by: the column of dates or times of those that are written in parts.

    Raises:
        PublishError: a table has not as many rows in its export.
    """
    with open_engine(settings) as connection:
        attach(connection, database, "snapshot")
        for name, count in counts.items():
            files = _files(connection, name, count, (parts_by or {}).get(name))
            there: dict[Path, tuple[Path, int]] = {}
            if earlier and name in earlier.changed:
                unchanged = [x for x in files if x.stem not in earlier.changed[name]]
                there = _sound(connection, earlier.folder, unchanged)
            elif len(files) > PARTS_AT_ONCE:
                there = _write_at_once(connection, name, count, (parts_by or {})[name], database.parent)
            exported = 0
            for file, (relation, expected) in files.items():
                origin, rows_there = there.get(file, (file, -1))
                if rows_there == expected:
                    _link(origin, database.parent / file)
                    exported += expected
                else:
                    exported += _write(connection, relation, database.parent / file)
            shutil.rmtree(database.parent / AT_ONCE, ignore_errors=True)
            if exported != count:
                raise PublishError(f"{name} has {exported} rows in its Parquet export, {count} in the database file")


def _files(
    connection: duckdb.DuckDBPyConnection, name: str, count: int, column: str | None
) -> dict[Path, tuple[str, int]]:
    """Files of a table, below the snapshot's folder, with the relation and the number of rows of each."""
    relation, place = qualified(name, "snapshot"), Path(FOLDER, *name.split("."))
    if column is None:
        return {place.with_suffix(".parquet"): (relation, count)}
    if not count:  # a folder without a file would be no table
        return {place / f"{UNDATED}.parquet": (relation, 0)}
    rows = connection.execute(
        f"select {part_of_row(column, count)}, count(*) from {relation} group by all order by all"
    )
    return {
        place / f"{part}.parquet": (f"{relation} where {_rows_of_part(column, part)}", of_part)
        for part, of_part in rows.fetchall()
    }


def _write_at_once(
    connection: duckdb.DuckDBPyConnection, name: str, count: int, column: str, folder: Path
) -> dict[Path, tuple[Path, int]]:
    """Write all parts of a table in one pass, into a folder of their own; path and rows by their file."""
    at_once = folder / AT_ONCE
    parts = f"select *, {part_of_row(column, count)} as part from {qualified(name, 'snapshot')}"
    connection.execute(f"copy ({parts}) to {literal(at_once)} (partition_by (part), {OPTIONS})")
    written = {file: file.parent.name.partition("=")[2] for file in at_once.rglob("*.parquet")}
    alone = [file for file, part in written.items() if list(written.values()).count(part) == 1]
    rows = _counts(connection, alone)
    place = Path(FOLDER, *name.split("."))
    return {place / f"{written[file]}.parquet": (file, rows[file]) for file in alone}


def _sound(
    connection: duckdb.DuckDBPyConnection, folder: Path, files: Collection[Path]
) -> dict[Path, tuple[Path, int]]:
    """Path and rows of each of these files that lies in a snapshot's folder; none where one cannot be read."""
    there = {folder / file: file for file in files if (folder / file).is_file()}
    try:
        return {there[path]: (path, count) for path, count in _counts(connection, there).items()}
    except duckdb.Error:
        return {}


def _counts(connection: duckdb.DuckDBPyConnection, files: Collection[Path]) -> dict[Path, int]:
    """Rows of Parquet files, from their ends alone."""
    if not files:
        return {}
    names = ", ".join(map(literal, files))
    rows = connection.execute(f"select file_name, num_rows from parquet_file_metadata([{names}])").fetchall()
    return {Path(name): count for name, count in rows}


def _write(connection: duckdb.DuckDBPyConnection, relation: str, file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return one_row(connection, f"copy (from {relation}) to {literal(file)} ({OPTIONS})")[0]


def _link(origin: Path, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, file)
    except OSError:  # a file system without links, or with as many as it allows
        shutil.copyfile(origin, file)
