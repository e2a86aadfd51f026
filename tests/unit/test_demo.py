"""What `make demo` does before the run: the landing files of a university of one size, and of another after it."""

import os
import subprocess
import sys

import duckdb
import pytest

from dagster_project.commands.demo import landing_place, make_university
from dagster_project.ingest.sources import Source, register_source
from dagster_project.settings import REPOSITORY, Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


def test_another_size_leaves_no_row_of_the_earlier_university(settings):
    """The loader keeps what a file that is gone delivered; a file without rows takes its place."""
    said = []
    make_university(settings, 40, 1, said.append)
    landing = landing_place(settings)
    events = min(landing.glob("events/*.parquet"))
    answers = min(landing.glob("responses/*.csv"))
    # Months that only the earlier one had.
    old = [events.with_name("events-1999-01.parquet"), answers.with_name("responses-1999-01.csv")]
    for file, model in zip(old, (events, answers), strict=True):
        file.write_bytes(model.read_bytes())
        os.utime(file, (1e9, 1e9))
    truth = make_university(settings, 50, 1, said.append)
    assert truth["students"] == 50
    with duckdb.connect() as files:
        for file, model in zip(old, (events, answers), strict=True):
            assert files.sql(f"select count(*) from '{file}'").fetchall() == [(0,)]
            assert files.sql(f"from '{file}'").columns == files.sql(f"from '{model}'").columns
    assert "40 degree learners" in said[0]


def test_a_source_of_that_name_with_files_of_its_own_is_left_alone(settings, tmp_path):
    own = tmp_path / "our_university"
    own.mkdir()
    register_source(settings, Source("campus", "campus", own), ["campus"])
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", "demo", "--students", "40"],
        cwd=REPOSITORY,
        env=os.environ | {"LEARNING_WAREHOUSE_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert str(own) in done.stderr
    assert not landing_place(settings).exists()
