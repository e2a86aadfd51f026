"""A warehouse of its own for every test."""

import pytest

from dagster_project.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "warehouse"))
    return Settings()
