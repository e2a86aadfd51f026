"""The models' own SQL, compiled once by dbt and run on rows in memory: a build takes seconds and not a minute."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import duckdb
import pandas as pd

from dagster_project.contracts.source import Contract, Table, read_contracts
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse as Store
from tests.models.made_source import MadeWarehouse

SEEDS = REPOSITORY / "dbt" / "seeds"


class Failure(NamedTuple):
    """A dbt test with severity error, or a column of another type than the model's contract says."""

    test: str
    rows: int


class CompiledModels:
    """dbt's models and tests, run in order on made rows of the raw tables.

    What only a real build has is left out: contracts are looked at here, hooks and increments are not.

    Args:
        home: folder of a warehouse.
        rows: rows by contract and table, with the columns that raw has; `source` is the contract's name where a row
            has none.
        only: models, joined by blanks, for which they and what they read is enough; dbt's own selectors do as well.
    """

    def __init__(self, home: Path, rows: Mapping[str, Mapping[str, list[dict]]], only: str | None = None) -> None:
        made = MadeWarehouse(home)
        done = made.dbt("compile", *(("--select", *(f"+{name}" for name in only.split())) if only else ()))
        assert done.returncode == 0, done.stdout[-4000:]
        self._nodes: dict = json.loads((home / "target" / "manifest.json").read_text())["nodes"]
        self._store = Settings(home=home).build_database
        self._computed = list(Store(Settings(home=home)).columns())
        self.contracts = read_contracts(REPOSITORY / "dbt" / "models")
        self._made = home / "made.duckdb"
        with duckdb.connect(str(self._made)) as connection:
            for contract in self.contracts.values():
                connection.execute(f"create schema {contract.schema}")
                for table in contract.tables:
                    _write(connection, contract, table, rows.get(contract.name, {}).get(table.name, []))

    @contextmanager
    def built(self, raw: Mapping[tuple[str, str], str] | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with everything built.

        Args:
            raw: by contract and table, what stands after `select` in the place of all columns.
        """
        raw = raw or {}
        with duckdb.connect() as connection:
            connection.execute("attach ':memory:' as build; use build")
            connection.execute(f"attach '{self._store}' as store (read_only)")
            connection.execute(f"attach '{self._made}' as made (read_only)")
            for table in self._computed:
                _create(connection, "table", table, f"from store.{table}")
            for contract in self.contracts.values():
                for table in contract.tables:
                    name = f"{contract.schema}.{table.name}"
                    columns = raw.get((contract.name, table.name), "*")
                    _create(connection, "table", name, f'select {columns} from made.{contract.schema}."{table.name}"')
            for node in self._ordered:
                name = f"{node['schema']}.{node.get('alias') or node['name']}"
                if node["resource_type"] == "seed":
                    _create(connection, "table", name, f"from read_csv('{SEEDS / node['path']}')")
                else:
                    is_view = node["config"]["materialized"] == "view"
                    _create(connection, "view" if is_view else "table", name, node["compiled_code"])
            yield connection

    def failures(self, connection: duckdb.DuckDBPyConnection) -> list[Failure]:
        """Tests that would stop a run, and models that break their contract."""
        found = []
        for node in self._nodes.values():
            if node["resource_type"] == "test" and node["config"]["severity"].lower() == "error":
                ((count,),) = connection.execute(
                    f"select {node['config']['fail_calc']} from ({node['compiled_code']})"
                ).fetchall()
                found += [Failure(node["name"], count)] if count else []
            if node["resource_type"] == "model" and node["config"]["contract"]["enforced"]:
                name = f"{node['schema']}.{node['name']}"
                there = {column: kind for column, kind, *_ in connection.execute(f"describe {name}").fetchall()}
                stated = {x["name"]: _type(connection, x["data_type"]) for x in node["columns"].values()}
                found += [Failure(f"contract of {name}", 0)] if there != stated else []
        return found

    def found_by(self, test: str, connection: duckdb.DuckDBPyConnection) -> list[tuple]:
        """Rows that a dbt test of this name finds."""
        (node,) = [x for x in self._nodes.values() if x["resource_type"] == "test" and x["name"] == test]
        return connection.execute(node["compiled_code"]).fetchall()

    @cached_property
    def _ordered(self) -> list[dict]:
        built = {
            key: node
            for key, node in self._nodes.items()
            if node["resource_type"] == "seed" or (node["resource_type"] == "model" and node.get("compiled_code"))
        }
        before = {
            key: [parent for parent in node.get("depends_on", {}).get("nodes", ()) if parent in built]
            for key, node in built.items()
        }
        return [built[key] for key in TopologicalSorter(before).static_order()]


def _write(connection: duckdb.DuckDBPyConnection, contract: Contract, table: Table, rows: list[dict]) -> None:
    kinds = {x.name: "varchar" if x.pii == "pseudonym" else x.data_type for x in table.raw_columns}
    kinds |= {"source": "varchar"} | ({"event_date": "date"} if table.is_event else {})
    unknown = {name for row in rows for name in row} - kinds.keys()
    assert not unknown, f"{contract.name}.{table.name} has no columns {unknown}"
    connection.register("frame", pd.DataFrame(rows, columns=list(kinds), dtype=object))
    casts = ", ".join(f'"{name}"::{kind} as "{name}"' for name, kind in kinds.items() if name != "source")
    connection.execute(
        f"create table {contract.schema}.\"{table.name}\" as select {casts}, '{table.name}.csv' as _file, "
        f"row_number() over () as _record, coalesce(source::varchar, '{contract.name}') as source from frame"
    )


def _create(connection: duckdb.DuckDBPyConnection, kind: str, name: str, query: str) -> None:
    schema, _, table = name.partition(".")
    connection.execute(f'create schema if not exists {schema}; create or replace {kind} {schema}."{table}" as {query}')


def _type(connection: duckdb.DuckDBPyConnection, written: str) -> str:
    ((kind,),) = connection.execute(f"select typeof(null::{written})").fetchall()
    return kind
