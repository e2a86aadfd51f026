"""Are two published snapshots equal, row by row?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from dagster_project.base.engine import attach, one_row, open_engine
from dagster_project.base.sql import identifier
from dagster_project.settings import Settings
from dagster_project.store.meta import Table, find_tables


def compare_databases(
    settings: Settings,
    a: Path,
    b: Path,
    schemas: Sequence[str],
    but_for: Mapping[str, Sequence[str]],
    but_for_rows: Mapping[str, str] | None = None,
) -> list[str]:
    """Differences between two database files, as sentences; none when they hold the same rows, whatever their order.

    Args:
        but_for: columns that are not compared, by "schema.table".
        but_for_rows: SQL conditions of rows that are not compared, by "schema.table".
    """
    if a.resolve() == b.resolve():
        raise ValueError(f"{a} and {b} are the same file: that they are equal proves nothing")
    with open_engine(settings) as connection:
        attach(connection, a.resolve(), "a")
        attach(connection, b.resolve(), "b")
        in_a, in_b = ({x.full_name: x for x in find_tables(connection, catalog, schemas)} for catalog in ("a", "b"))
        differences = [f"{name}: only in {a}" for name in in_a.keys() - in_b.keys()]
        differences += [f"{name}: only in {b}" for name in in_b.keys() - in_a.keys()]
        for name in in_a.keys() & in_b.keys():
            left_out = (but_for_rows or {}).get(name, "false")
            differences += _compare_tables(connection, in_a[name], in_b[name], but_for.get(name, ()), left_out)
        return sorted(differences)


def _compare_tables(
    connection: duckdb.DuckDBPyConnection, a: Table, b: Table, but_for: Sequence[str], left_out: str
) -> list[str]:
    types_a, types_b = ([(x.name, x.data_type) for x in table.columns] for table in (a, b))
    if types_a != types_b:
        return [f"{a.full_name}: other columns: {sorted(set(types_a) ^ set(types_b)) or 'in another order'}"]
    differences = []
    if a != b:
        differences.append(f"{a.full_name}: other descriptions")
    columns = ", ".join(identifier(x.name) for x in a.columns if x.name not in but_for)
    if not columns:
        return differences
    table = f"{identifier(a.schema)}.{identifier(a.name)} where not ({left_out})"
    count_a, count_b = (one_row(connection, f"select count(*) from {x}.{table}")[0] for x in ("a", "b"))
    found = _find_rows_only_in(connection, "a", "b", table, columns, "first")
    # As many rows on both sides, and none that the second lacks: then the first lacks none either.
    if found or count_a != count_b:
        found += _find_rows_only_in(connection, "b", "a", table, columns, "second")
    return differences + [f"{a.full_name}: {text}" for text in found]


def _find_rows_only_in(
    connection: duckdb.DuckDBPyConnection, here: str, there: str, table: str, columns: str, words: str
) -> list[str]:
    count, example = one_row(
        connection,
        f"select count(*), any_value(x) from (select {columns} from {here}.{table} "
        f"except all select {columns} from {there}.{table}) as x",
    )
    return [f"{count} rows only in the {words} snapshot, such as {example}"] if count else []
