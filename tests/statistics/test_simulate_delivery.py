"""Planted dirt and the loader: what is planted is found, and nothing else is refused."""

from pathlib import Path

import duckdb
import pytest

from dagster_project import simulate
from dagster_project.contracts.source import read_contract
from dagster_project.ingest.loader import load_table
from dagster_project.settings import REPOSITORY, Settings

pytestmark = pytest.mark.slow
CONTRACT = REPOSITORY / "dbt" / "models" / "staging" / "campus" / "_campus__sources.yml"


def test_the_loader_refuses_exactly_the_malformed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "home"))
    report = simulate.write(tmp_path / "landing", tmp_path / "truth.json", 6, 1000)
    planted, contract, settings = report.dirt.nested(), read_contract(CONTRACT), Settings()
    connection = duckdb.connect()
    for table in contract.tables:
        name = table if isinstance(table, str) else table.name
        load_table(contract, name, "campus", tmp_path / "landing", settings)
        loaded = connection.execute(
            f"select count(*) from read_parquet('{settings.raw_dir}/campus/{name}/**/*.parquet', union_by_name = true)"
        ).fetchall()[0][0]
        refused = sum(planted.get(name, {}).get(kind, 0) for kind in ("malformed", "clock_reset"))
        assert report.rows[name] - loaded == refused, name
