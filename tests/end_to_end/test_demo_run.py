"""`make demo` from nothing to the snapshot, on a small university, as a user starts it: in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import REPOSITORY

# Minutes of CPU, whatever the size: every analysis runs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
STUDENTS = 300


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Warehouse folder and output of one demo."""
    home = tmp_path_factory.mktemp("demo") / "warehouse"
    # Dagster's event log commits thousands of times; in memory the test does not wait for the disk.
    memory = Path("/dev/shm")  # noqa: S108
    dagster_home = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else home.parent))
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", "demo", "--students", str(STUDENTS)],
        cwd=REPOSITORY,
        env=os.environ | {"LEARNING_WAREHOUSE_HOME": str(home), "DAGSTER_HOME": str(dagster_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stderr + done.stdout)[-6000:]
    yield home, done.stdout
    shutil.rmtree(dagster_home)


def test_demo_publishes_the_university_that_it_made(demo):
    home, output = demo
    assert f"The university: {STUDENTS} learners with a known first year in 19 programs" in output
    with duckdb.connect(str(home / "published" / "learning_warehouse.duckdb"), read_only=True) as connection:
        query = """
            select count(is_retained_without_graduates), count(*) filter (is_graduated)
            from marts.mart_learner_program
        """
        graduates = json.loads((home / "truth" / "campus.json").read_text())["graduation"]["within_first_year"]
        assert connection.execute(query).fetchone() == (STUDENTS, graduates)
        assert f" still there, {graduates} graduates included" in output
        (unfilled,) = connection.execute(
            "select count(*) from _meta.columns where description is null or description = ''"
        ).fetchone()
    assert unfilled == 0


def test_planted_dirt_is_found_kind_by_kind(demo):
    _, output = demo
    lines = re.findall(r"^  (\w+) +([a-z ]+?) +([\d,]+) +([\d,]+|—)", output, re.MULTILINE)
    found = {(table, kind): (planted, there) for table, kind, planted, there in lines}
    assert len(found) >= 16
    assert found.pop(("events", "out of order"))[1] == "—"
    assert {key: pair for key, pair in found.items() if pair[0] != pair[1]} == {}


def test_demo_tells_its_cost_and_where_to_look_next(demo):
    home, output = demo
    assert re.search(r"Published snapshot \S+ \(\d+ s, [\d.]+ GiB of memory at most\)", output)
    assert re.search(r"Seconds: raw_campus \d+, .*models \d+", output)
    assert str(home / "truth" / "campus.json") in output


def test_the_list_of_whom_to_call_tells_how_old_its_data_are(demo):
    home, output = demo
    assert "failed or withdrawn, as of 2025-10-31: " in output
    assert (
        "Call nobody by this list: its data are older than permitted (events: the newest event is of 2025-10-31"
        in output
    )
    with duckdb.connect(str(home / "published" / "learning_warehouse.duckdb"), read_only=True) as connection:
        for table in ("learners.call_list", "reporting.at_risk_programs"):
            newest = connection.execute(f"select max(as_of_on) from {table}").fetchone()
            assert newest == (date(2025, 11, 1),)


def test_every_page_of_the_snapshot_says_that_it_is_simulated(demo):
    home, _ = demo
    pages = sorted((home / "published" / "reports").glob("*.html"))
    assert len(pages) == 4
    for page in [*pages, *(home / "artifacts" / "data_docs").glob("*.html")]:
        text = page.read_text()
        assert "<b>SIMULATED</b>" in text, page.name
        assert (home / "published" / "current").readlink().name in text, page.name
