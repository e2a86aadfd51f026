"""Pieces of SQL that many modules write: quoted names and values, names of tables, comments."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.base.errors import StoreError

if TYPE_CHECKING:  # who only quotes a name needs no engine
    import duckdb


def identifier(name: str) -> str:
    """A name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path | None) -> str:
    """A text or path as a quoted value; None as null."""
    return "null" if text is None else "'" + str(text).replace("'", "''") + "'"


def qualified(table: str, catalog: str) -> str:
    """A table, "schema.table", as SQL, in an attached database.

    Raises:
        StoreError: the name has not the form "schema.table".
    """
    parts = table.split(".")
    if len(parts) != 2 or not all(parts):
        raise StoreError(f"{table!r} is not the name of a table: expected schema.table, such as core.dim_learner")
    return ".".join(identifier(part) for part in (catalog, *parts))


def write_comments(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    description: str | None,
    columns: Iterable[tuple[str, str | None]],
) -> None:
    """Set the comments of a table (as SQL) and of its columns (name, comment).

    Outside of a transaction each of them is one of its own, which waits for the disk.
    """
    # Empty comments are kept null: a BI tool shows an empty string as a description.
    comments = [f"comment on table {table} is {literal(description or None)}"]
    comments += [f"comment on column {table}.{identifier(x)} is {literal(text)}" for x, text in columns if text]
    connection.execute(";\n".join(comments))
