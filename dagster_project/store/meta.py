"""Schema `_meta` of a published snapshot: what it is, what is in it, in which unit, and which sources fill it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime

import duckdb

from dagster_project.base.engine import one_row, transaction
from dagster_project.base.sql import identifier, write_comments

# Units of the project's naming rules: what the end of a column's name (or its start) says. The first match counts.
_UNITS_BY_NAME = (
    (r"_key$", "key"),
    (r"_id$", "id of the source"),
    (r"^(is|has)_", "true or false"),
    (r"_at$", "timestamp, UTC"),
    (r"_on$", "date"),
    (r"_count$", "count"),
    (r"_share(_at_(least|most))?$", "share, 0 to 1"),
    (r"_ratio$", "ratio"),
    (r"_percent$", "percent"),
    (r"_(seconds|minutes|hours|days|weeks|months|years|credits)$", r"\1"),
    (r"(^|_)score$", "score"),
    (r"_number$", "ordinal number"),
)
_UNITS_BY_TYPE = {"DATE": "date", "TIMESTAMP": "timestamp, UTC", "BOOLEAN": "true or false"}

# The tables of `_meta`: description, and the columns with type and description.
_TABLES: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "publication": (
        "The snapshot itself. One row.",
        (
            ("snapshot_id", "varchar", "Id of the snapshot: the UTC time at which its publication began"),
            ("published_at", "timestamp", "When it was published"),
            ("first_event_on", "date", "Earliest date of an event in any source"),
            ("last_event_on", "date", "Last day of the data of any source: how fresh they are"),
            ("table_count", "bigint", "Published tables, without those of _meta and ops"),
            ("row_count", "bigint", "Rows in all of them"),
        ),
    ),
    "tables": (
        "One row per published table.",
        (
            ("schema_name", "varchar", "Schema"),
            ("table_name", "varchar", "Table"),
            ("row_count", "bigint", "Rows"),
            ("description", "varchar", "What one row is"),
            (
                "data_version",
                "varchar",
                "Hash of what its rows, columns and comments were made from; null where that is unknown",
            ),
            ("computed_at", "timestamp", "When its rows were computed, UTC; null where that is unknown"),
            (
                "computed_from_snapshot",
                "varchar",
                "First snapshot that had these rows: they are computed from its data; null where that is unknown",
            ),
        ),
    ),
    "columns": (
        "One row per column of a published table.",
        (
            ("schema_name", "varchar", "Schema"),
            ("table_name", "varchar", "Table"),
            ("column_name", "varchar", "Column"),
            ("column_number", "integer", "Position in the table, from 1"),
            ("data_type", "varchar", "Type"),
            ("unit", "varchar", "Unit, from the naming rules; null where a value has none"),
            ("description", "varchar", "What it means"),
            (
                "refers_to",
                "varchar",
                "schema.table.column that has a row for each; what a source names and does not describe has none. "
                "Null when it is no key of another table",
            ),
            (
                "filled_by",
                "varchar",
                "Sources with at least one value, separated by commas; empty when none has any; "
                "null when the table has no column `source`",
            ),
        ),
    ),
    "sources": (
        "One row per source of the warehouse.",
        (
            ("source", "varchar", "Source: first part of every key, and a column of nearly every table"),
            ("contract", "varchar", "Format that the source's files have"),
            ("first_event_on", "date", "Earliest date of an event"),
            (
                "last_event_on",
                "date",
                "Last day of its data: core.dim_source.last_data_on; one fast clock does not move it",
            ),
            ("file_count", "bigint", "Landing files loaded"),
            ("row_count", "bigint", "Rows accepted from them"),
            ("refused_count", "bigint", "Rows refused, kept in quarantine"),
        ),
    ),
}


@dataclass(frozen=True)
class SourceInfo:
    """What the loader knows of a source; None where it does not know."""

    source: str
    contract: str
    first_event_on: date | None = None
    last_event_on: date | None = None
    file_count: int | None = None
    row_count: int | None = None
    refused_count: int | None = None


@dataclass(frozen=True)
class Column:
    """A column as the database has it."""

    name: str
    data_type: str
    description: str | None


@dataclass(frozen=True)
class Table:
    """A published table as it stands in a database."""

    schema: str
    name: str
    description: str | None
    columns: tuple[Column, ...]

    @property
    def full_name(self) -> str:
        """Its name as "schema.table"."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Known:
    """What `_meta` says of a published table, and nobody need count again as long as the table is the same.

    Attributes:
        filled_by: sources by column; nothing when the table has no column `source`.
    """

    row_count: int
    filled_by: Mapping[str, str]
    data_version: str | None


def find_unit(column: str, data_type: str) -> str | None:
    """Unit of a column by the naming rules, None when they name none.

    >>> find_unit("active_minutes", "DOUBLE"), find_unit("title", "VARCHAR")
    ('minutes', None)
    """
    for pattern, unit in _UNITS_BY_NAME:
        if match := re.search(pattern, column):
            return match.expand(unit)
    return _UNITS_BY_TYPE.get(data_type)


def find_reference(column: str, table: str, tables_of_keys: Mapping[str, str]) -> str | None:
    """What a column refers to, by its name: "schema.table.column"; None: nothing, or the table is the key's own.

    >>> find_reference("first_term_key", "marts.mart_learner_program", {"term_key": "core.dim_term"})
    'core.dim_term.term_key'
    """
    keys = (key for key in tables_of_keys if column == key or column.endswith(f"_{key}"))
    key = max(keys, key=len, default=None)
    return None if key is None or tables_of_keys[key] == table else f"{tables_of_keys[key]}.{key}"


def find_tables(connection: duckdb.DuckDBPyConnection, catalog: str, schemas: Sequence[str]) -> list[Table]:
    """Tables and views of these schemas in an attached database, by schema (in the order given) and name."""
    relations = connection.execute(
        """
        select schema_name, table_name, comment from duckdb_tables() where database_name = $catalog and not internal
        union all
        select schema_name, view_name, comment from duckdb_views() where database_name = $catalog and not internal
        order by all
        """,
        {"catalog": catalog},
    ).fetchall()
    columns: dict[tuple[str, str], list[Column]] = {}
    for schema, table, *column in connection.execute(
        "select schema_name, table_name, column_name, data_type, comment from duckdb_columns() "
        "where database_name = ? and not internal order by schema_name, table_name, column_index",
        [catalog],
    ).fetchall():
        columns.setdefault((schema, table), []).append(Column(*column))
    return [
        Table(schema, name, comment, tuple(columns[schema, name]))
        for wanted in schemas
        for schema, name, comment in relations
        if schema == wanted
    ]


def write_meta(
    connection: duckdb.DuckDBPyConnection,
    catalog: str,
    tables: Sequence[Table],
    *,
    snapshot_id: str,
    published_at: datetime,
    sources: Sequence[SourceInfo],
    versions: Mapping[str, str],
    uncounted: str = "",
    about: Mapping[str, tuple[str | int | None, str]] | None = None,
    data_versions: Mapping[str, str | None] | None = None,
    computed: Mapping[str, tuple[datetime, str]] | None = None,
    known: Mapping[str, Known] | None = None,
    tables_of_keys: Mapping[str, str] | None = None,
) -> None:
    """Create and fill schema `_meta` in an attached database that already holds the tables.

    Args:
        versions: software name → version; each becomes a column of `_meta.publication` (dbt-core: dbt_core_version).
        uncounted: schema whose tables and rows `_meta.publication` leaves out.
        about: further columns of `_meta.publication`: name → (value, description).
        data_versions: by "schema.table", for `_meta.tables`.
        computed: when rows were computed and the first snapshot that had them, by "schema.table", for `_meta.tables`.
        known: tables, by "schema.table", that are not counted, since it is known what the count would be.
        tables_of_keys: "schema.table" by its key, for `_meta.columns`; those that are not published are left out.
    """
    data_versions, computed, known = data_versions or {}, computed or {}, known or {}
    published = {table.full_name for table in tables}
    tables_of_keys = {key: table for key, table in (tables_of_keys or {}).items() if table in published}
    table_rows, column_rows = [], []
    for table in tables:
        name = table.full_name
        if name in known:
            row_count, filled_by = known[name].row_count, known[name].filled_by
        else:
            row_count, filled_by = _count(connection, catalog, table)
        made = (data_versions.get(name), *computed.get(name, (None, None)))
        table_rows.append((table.schema, table.name, row_count, table.description, *made))
        column_rows += [
            (
                table.schema,
                table.name,
                column.name,
                number,
                column.data_type,
                find_unit(column.name, column.data_type),
                column.description,
                find_reference(column.name, name, tables_of_keys),
                filled_by.get(column.name),
            )
            for number, column in enumerate(table.columns, 1)
        ]
    publication = (
        snapshot_id,
        published_at,
        min((x.first_event_on for x in sources if x.first_event_on), default=None),
        max((x.last_event_on for x in sources if x.last_event_on), default=None),
        sum(row[0] != uncounted for row in table_rows),
        sum(row[2] for row in table_rows if row[0] != uncounted),
        *versions.values(),
        *(value for value, _ in (about or {}).values()),
    )
    further_columns = tuple((f"{name.replace('-', '_')}_version", "varchar", f"Version of {name}") for name in versions)
    further_columns += tuple(
        (name, "bigint" if isinstance(value, int) else "varchar", description)
        for name, (value, description) in (about or {}).items()
    )
    connection.execute(f"create schema {identifier(catalog)}._meta")
    _write(connection, catalog, "publication", [publication], further_columns)
    _write(connection, catalog, "tables", table_rows)
    _write(connection, catalog, "columns", column_rows)
    _write(connection, catalog, "sources", [astuple(source) for source in sorted(sources, key=lambda x: x.source)])


def read_known(connection: duckdb.DuckDBPyConnection, catalog: str) -> dict[str, Known]:
    """What `_meta` of an attached snapshot says of its tables, by "schema.table"."""
    meta = f"{identifier(catalog)}._meta"
    filled_by: dict[str, dict[str, str]] = {}
    for name, column, sources in connection.execute(
        f"select schema_name || '.' || table_name, column_name, filled_by from {meta}.columns "
        "where filled_by is not null"
    ).fetchall():
        filled_by.setdefault(name, {})[column] = sources
    return {
        name: Known(row_count, filled_by.get(name, {}), data_version)
        for name, row_count, data_version in connection.execute(
            f"select schema_name || '.' || table_name, row_count, data_version from {meta}.tables"
        ).fetchall()
    }


def _count(connection: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> tuple[int, dict[str, str]]:
    """Rows of a table, and for each column the sources that fill it (nothing when there is no column `source`)."""
    name = f"{identifier(catalog)}.{identifier(table.schema)}.{identifier(table.name)}"
    if "source" not in (column.name for column in table.columns):
        return one_row(connection, f"select count(*) from {name}")[0], {}
    counts = ", ".join(f"count({identifier(column.name)})" for column in table.columns)
    groups = connection.execute(
        f"select source, count(*), {counts} from {name} group by source order by source"
    ).fetchall()
    filled_by = {
        column.name: ", ".join(source or "(no source)" for source, _, *filled in groups if filled[number])
        for number, column in enumerate(table.columns)
    }
    return sum(rows for _, rows, *_ in groups), filled_by


def _write(
    connection: duckdb.DuckDBPyConnection, catalog: str, table: str, rows: list[tuple], further: tuple = ()
) -> None:
    description, columns = _TABLES[table]
    columns += further
    name = f"{identifier(catalog)}._meta.{identifier(table)}"
    with transaction(connection):
        connection.execute(f"create table {name} ({', '.join(f'{identifier(x)} {kind}' for x, kind, _ in columns)})")
        if rows:
            # One statement: as many as rows take seconds, each with its own parse.
            row = f"({', '.join('?' for _ in columns)})"
            values = [value for values in rows for value in values]
            connection.execute(f"insert into {name} values {', '.join([row] * len(rows))}", values)
        write_comments(connection, name, description, ((x, text) for x, _, text in columns))
