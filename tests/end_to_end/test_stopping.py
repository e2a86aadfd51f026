"""Ctrl-C and SIGTERM stop a run within seconds, wherever it is; the same command then publishes."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import dagster as dg
import psutil
import pytest

from dagster_project.settings import REPOSITORY
from tests.end_to_end.test_run import Run

# A run of a small source takes a minute of CPU, and there are several.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SECONDS_TO_STOP = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("stopped"), seconds=1500)
    run.deliver(seed=1)
    yield run
    shutil.rmtree(run.dagster_home)


def stop(run: Run, line: str, number: signal.Signals, *, times: int = 1) -> tuple[int, str, float]:
    """Status and output of a run to whose process group a signal was sent when it printed `line`, and how long it
    took to end."""
    process = run.start("uni_a")
    printed = []
    for text in process.stdout:
        printed.append(text)
        if line in text:
            break
    else:
        pytest.fail(f"It ended without printing {line!r}:\n{''.join(printed)[-3000:]}")
    children = psutil.Process(process.pid).children(recursive=True)
    sent = time.monotonic()
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.3)
    rest, _ = process.communicate(timeout=300)
    took = time.monotonic() - sent
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    return process.returncode, "".join(printed) + rest, took


def states(run: Run) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(run.dagster_home))
        with dg.DagsterInstance.from_config(str(run.dagster_home)) as instance:
            return [record.status.value for record in instance.get_runs()]


@pytest.mark.parametrize(
    ("line", "number", "times"),
    [
        ("Starting Dagster and dbt", signal.SIGINT, 1),
        ("studentVle.csv: ", signal.SIGTERM, 1),
        ("START sql", signal.SIGINT, 3),
    ],
    ids=["start-up", "loading", "dbt"],
)
def test_a_stopped_run_ends_in_seconds_and_says_what_stands(run, line, number, times):
    status, output, took = stop(run, line, number, times=times)
    assert status == 128 + number, output[-3000:]
    assert "Traceback" not in output
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"Stopped by {name}. Nothing is published yet; what was loaded stays loaded (" in output
    assert output.rstrip().endswith("The same command goes on from there.")
    assert took < SECONDS_TO_STOP
    if line != "Starting Dagster and dbt":
        assert states(run)[0] == "CANCELED"


def test_the_same_command_publishes_after_all_that_and_a_stop_leaves_the_snapshot(run):
    status, output = run.run()
    assert status == 0, output[-4000:]
    assert "rows loaded" not in output.split("studentVle.csv")[0].split("courses.csv")[-1]
    first = run.snapshot
    run.deliver(seed=2)
    status, output, _ = stop(run, "START sql", signal.SIGINT)
    assert status == 130
    assert f"The published snapshot {first.name} is as it was; what was loaded stays loaded" in output
    assert run.snapshot == first
    assert states(run)[0] == "CANCELED"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_without_a_run_is_stopped_in_words(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project", "demo", "--students", "17960"],
        cwd=REPOSITORY,
        env=os.environ | {"LEARNING_WAREHOUSE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    threading.Timer(240, process.kill).start()
    assert "Simulating" in process.stdout.readline()
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=240)
    assert process.returncode == 128 + number, rest
    assert "Traceback" not in rest
    assert "Stopped by" in rest
