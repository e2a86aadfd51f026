"""What every table and page of the build database was made from: `ops.data_versions`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache

from dagster_project.base.engine import open_database, transaction
from dagster_project.base.sql import identifier, literal, qualified
from dagster_project.contracts.tables import OPS_CONTRACTS, TableContract, read_contracts
from dagster_project.settings import Settings
from dagster_project.store.plan import Built

TABLE = "ops.data_versions"
PAGES = "pages."
"""Before the names of pages, which are files."""


@cache
def contract() -> TableContract:
    """The contract of the table, read from the folder of the models."""
    return read_contracts(OPS_CONTRACTS)[TABLE]


def read(settings: Settings) -> dict[str, Built]:
    """By "schema.table", what there is; a page whose file is gone is not there."""
    if not settings.build_database.exists():
        return {}
    with open_database(settings, settings.build_database) as connection:
        names = "select schema_name || '.' || {0}_name from duckdb_{0}s() where not internal"
        found = connection.execute(f"{names.format('table')} union {names.format('view')}").fetchall()
        there = {name for (name,) in found}
        if TABLE not in there:
            return {}
        rows = connection.execute(
            f"select table_name, data_version, code_version, built_at, marker from {qualified(TABLE, 'warehouse')}"
        ).fetchall()
    return {name: Built(*what) for name, *what in rows if name in there or _is_page(settings, name)}


def forget(settings: Settings, tables: Iterable[str]) -> None:
    """Tables that are about to be written: should that be cut off, nobody knows what they are. Needs the write lock."""
    _change(settings, list(tables), [])


def note(settings: Settings, built: Mapping[str, Built], run_id: str) -> None:
    """Tables and pages that were written just now. Needs the write lock."""
    rows = [(name, x.version, x.code, x.marker, x.built_at, run_id) for name, x in built.items()]
    _change(settings, list(built), rows)


def as_variable(built: Mapping[str, Built], run_id: str, now: datetime) -> dict:
    """The var `data_versions` of dbt, whose macro note_data_version() writes these rows with each model."""
    tables = {name: [x.version, x.code, x.marker] for name, x in built.items()}
    return {"built_at": now.isoformat(sep=" "), "run_id": run_id, "tables": tables}


def _change(settings: Settings, gone: list[str], rows: list[tuple]) -> None:
    described = contract()
    columns = ", ".join(f"{identifier(x.name)} {x.data_type}" for x in described.columns)
    with open_database(settings, settings.build_database, "warehouse", "read_write") as connection:
        table = qualified(TABLE, "warehouse")
        with transaction(connection):
            connection.execute(f"create schema if not exists {table.rsplit('.', 1)[0]}")
            connection.execute(f"create table if not exists {table} ({columns})")
            if gone:
                connection.execute(f"delete from {table} where table_name in ({', '.join(map(literal, gone))})")
            if rows:
                connection.executemany(f"insert into {table} values (?, ?, ?, ?, ?, ?)", rows)


def _is_page(settings: Settings, name: str) -> bool:
    page = name.removeprefix(PAGES)
    # One of several files has a folder of its own.
    files = (settings.pages_dir / f"{page}.html", settings.artifacts_dir / page / "index.html")
    return name.startswith(PAGES) and any(file.exists() for file in files)
