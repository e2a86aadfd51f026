"""Files of a platform, loaded by the product's loader and staged by the product's models, for tests to look at."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from dagster_project.base.engine import open_database, open_engine
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.transform.dbt import build_staging
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import TableLoad, ensure_empty_files, load_table
from dagster_project.settings import PREFIX, Settings

SOURCE = "site"


class Delivery:
    """One delivery of a contract's files in a warehouse of its own.

    Attributes:
        loads: what the loader did, by table.
        failures, warnings: staging models and tests that failed, a line each.
    """

    def __init__(self, contract: str, landing: Path, home: Path):
        self.contract, self.settings = contract, Settings(home=home)
        tables = CONTRACTS[contract].tables
        self.loads: dict[str, TableLoad] = {
            table.name: load_table(CONTRACTS[contract], table.name, SOURCE, landing, self.settings) for table in tables
        }
        for other in CONTRACTS.values():
            ensure_empty_files(other, self.settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(f"{PREFIX}HOME", str(home))
            self.failures, self.warnings = build_staging(contract, home / "dbt")

    def rows(self, entity: str, *columns: str, where: str = "true") -> list[tuple]:
        """Rows of a canonical entity, sorted; times as text."""
        chosen = ", ".join(f"cast({x} as varchar)" if x.endswith(("_at", "_on")) else x for x in columns)
        return self.query(f"select {chosen} from staging.stg_{self.contract}__{entity} where {where} order by all")

    def query(self, query: str) -> list[tuple]:
        """Rows of a query over the build database."""
        with open_database(self.settings, self.settings.build_database) as connection:
            return connection.execute(query).fetchall()

    def person(self, plain: str) -> str:
        """What raw calls somebody."""
        return keyed_hash(plain, read_key(self.settings))


def write_csv(folder: Path, tables: Mapping[str, str], **dialect) -> None:
    """Tables as CSV files: by name, lines of values between blanks, the first one the header; `-` is an empty value."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        rows = [["" if value == "-" else value for value in line.split()] for line in text.strip().splitlines()]
        with (folder / f"{name}.csv").open("w", newline="") as out:
            csv.writer(out, **dialect).writerows(rows)


def raw_rows(contract: str, landing: Path, home: Path) -> dict[str, list[dict]]:
    """Rows of raw by table, as the loader makes them of files."""
    settings, tables = Settings(home=home), {}
    for table in CONTRACTS[contract].tables:
        load_table(CONTRACTS[contract], table.name, SOURCE, landing, settings)
        folder = settings.raw_dir / contract / table.name / f"source={SOURCE}"
        files = [str(path) for path in sorted(folder.rglob("*.parquet"))]
        kinds = "hive_partitioning = true, union_by_name = true" + (
            ", hive_types = {event_date: date}" if table.is_event else ""
        )
        with open_engine(settings) as connection:
            query = f"select * exclude (source, _file, _record) from read_parquet({files}, {kinds})"
            frame = connection.execute(query).df().astype(object) if files else None
        tables[table.name] = [] if frame is None else frame.where(frame.notna(), None).to_dict("records")
    return tables
