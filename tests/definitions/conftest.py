import os
from collections.abc import Iterator

import pytest

from tests.definitions.university import Built, sentences


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.getbasetemp()
    # Processes of one test run share the warehouse; each has a folder of its own below that of the run.
    home = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "definitions"
    home.mkdir(exist_ok=True)
    return Built.of_all(home)


@pytest.fixture
def built(warehouse: Built, request: pytest.FixtureRequest) -> Iterator[Built]:
    """The warehouse of all universities. A test has to read the columns that its sentences are listed to define."""
    warehouse.columns.clear()
    yield warehouse
    name = f"{request.node.path.name}::{request.node.originalname}"
    listed = {column for row in sentences() if row["test"] == name for column in row["columns"].split()}
    assert warehouse.columns, f"{name} proves a value of a built table and has read none"
    assert listed <= warehouse.columns, f"{name} has not read {sorted(listed - warehouse.columns)} of sentences.csv"
