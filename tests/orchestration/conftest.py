"""A warehouse of its own for every test."""

from collections.abc import Callable

import dagster as dg
import duckdb
import pytest

from dagster_project.defs.resources import WarehouseResource
from dagster_project.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "warehouse"))
    return Settings()


@pytest.fixture
def check_after(settings) -> Callable[[Settings, str, Callable], dg.AssetCheckResult]:
    """What a check says of a copy of a built warehouse after an SQL statement has spoilt it."""

    def run(built: Settings, statement: str, check: Callable) -> dg.AssetCheckResult:
        settings.build_database.parent.mkdir(parents=True, exist_ok=True)
        settings.build_database.write_bytes(built.build_database.read_bytes())
        with duckdb.connect(str(settings.build_database)) as connection:
            connection.execute(statement)
        return check(WarehouseResource())

    return run
