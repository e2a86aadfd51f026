"""A run that was killed with its process is recorded as failed; one that goes on, here or elsewhere, is left alone."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster import DagsterRunStatus

from dagster_project.base.locks import WriteLock
from dagster_project.definitions import defs
from dagster_project.defs.instance import lost_runs
from dagster_project.defs.instance.lost_runs import PROCESS_TAG, fail_lost_runs, this_process
from dagster_project.settings import REPOSITORY, Settings

SECONDS = 240


@dg.op
def nothing() -> None: ...


@dg.job
def work() -> None:
    nothing()


def started(
    instance: dg.DagsterInstance,
    process: str,
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    wrote: str | None = None,
    first: str | None = None,
) -> str:
    """A run that says it works in a process, or has the tag that run `wrote`; another attempt at `first`. Its id."""
    own = str(uuid.uuid4())
    tags = {PROCESS_TAG: f"{wrote or own} {process}"} | ({"dagster/root_run_id": first} if first else {})
    ids = {"run_id": own, "root_run_id": first, "parent_run_id": first}
    return instance.create_run_for_job(work, **ids, status=status, tags=tags).run_id


def gone_process() -> str:
    """What the tag of a run says whose process has ended."""
    script = "from dagster_project.defs.instance.lost_runs import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


NOT_ASKED_AFTER: list[subprocess.Popen] = []


def killed_process() -> str:
    """The same of one that nobody has asked after since: it is still in the table of processes."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    NOT_ASKED_AFTER.append(child)  # Python asks after those that it forgets
    tag = f"{socket.gethostname()} {child.pid} {psutil.Process(child.pid).create_time():.0f}"
    child.kill()
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    return tag


@pytest.mark.parametrize(
    ("process", "status"),
    [
        (gone_process, DagsterRunStatus.FAILURE),
        (killed_process, DagsterRunStatus.FAILURE),
        (this_process, DagsterRunStatus.STARTED),
        (lambda: this_process().rsplit(" ", 1)[0] + " 1000000000", DagsterRunStatus.FAILURE),
        (lambda: "another-host 1 1000000000", DagsterRunStatus.STARTED),
    ],
    ids=["gone", "killed", "there", "number taken by another", "other host"],
)
def test_a_run_without_its_process_is_recorded_as_failed(process, status):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started(instance, process())
        assert fail_lost_runs(instance) == ([run_id] if status is DagsterRunStatus.FAILURE else [])
        assert instance.get_run_by_id(run_id).status is status


def test_a_run_that_was_killed_while_somebody_stopped_it_is_canceled_and_not_failed():
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started(instance, gone_process(), DagsterRunStatus.CANCELING)
        fail_lost_runs(instance)
        assert instance.get_run_by_id(run_id).status is DagsterRunStatus.CANCELED


def test_a_run_that_is_started_again_is_not_judged_by_the_process_of_the_first_one():
    with dg.DagsterInstance.ephemeral() as instance:
        first = started(instance, gone_process(), DagsterRunStatus.FAILURE)
        started(instance, gone_process(), wrote=first)  # tags are taken over
        assert fail_lost_runs(instance) == []


@pytest.mark.parametrize("name", sorted(job.name for job in defs.get_repository_def().get_all_jobs()))
def test_every_job_writes_down_where_it_works(name):
    assert isinstance(defs.resolve_job_def(name).executor_def, dg.ExecutorDefinition)
    assert defs.resolve_job_def(name).executor_def is defs.executor
    assert defs.executor is not dg.in_process_executor


class Command:
    """A job in a process of its own, as Dagster's command line starts it, and the instance that it is recorded in."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "DAGSTER_HOME": str(folder),
            "LEARNING_WAREHOUSE_HOME": str(home),
            "PYTHONPATH": str(REPOSITORY),  # for the event log that dagster.yaml names
        }
        (folder / "dagster.yaml").write_text((REPOSITORY / "dagster_project" / "dagster.yaml").read_text())

    def start(self, *arguments: str, program: str = "dagster") -> subprocess.Popen:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / program), *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=(self.folder / f"{program} {arguments[0]}.out").open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@pytest.fixture
def command(tmp_path, monkeypatch):
    folder = tmp_path / "dagster"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path / "warehouse"))
    return Command(folder, tmp_path / "warehouse")


def wait_for(found, seconds: float = SECONDS):
    """The first value of a function that is not empty."""
    end = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < end:
        time.sleep(0.2)
    assert value, f"nothing came of it in {seconds:.0f} s"
    return value


@pytest.mark.parametrize(
    ("job", "config"),
    [
        ("erase_learner", {}),
        pytest.param(
            "publish_for",
            {"ops": {"write_consumer_file": {"config": {"kind": "program", "id": "bsc"}}}},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_job_that_takes_long_is_left_alone_and_fails_once_it_is_killed(command, tmp_path, monkeypatch, job, config):
    monkeypatch.setattr(lost_runs, "SETTLED", timedelta(0))  # it has been at work for longer than that
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ["-m", "dagster_project.definitions", "-j", job, "-c", str(tmp_path / "config.yaml")]
    with (
        WriteLock(Settings(), run_id="other", what="another run"),  # the op waits for it
        dg.DagsterInstance.get() as instance,
    ):
        process = command.start("job", "execute", *arguments)
        try:
            at_work = {dg.DagsterEventType.STEP_START}
            run = wait_for(lambda: next(iter(instance.get_runs()), None))
            wait_for(lambda: instance.all_logs(run.run_id, of_type=at_work))
            assert fail_lost_runs(instance) == []
            assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.STARTED
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert fail_lost_runs(instance) == [run.run_id]
            assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


DEFINITIONS = """
import os, time
from pathlib import Path
import dagster as dg
from dagster_project.defs.instance.lost_runs import recorded_in_process

HERE = Path(__file__).parent

@dg.asset
def first():
    with (HERE / "first").open("a") as file:
        file.write("made\\n")

@dg.asset(deps=[first])
def second():
    if not (HERE / "process").exists():
        (HERE / "process.incoming").write_text(str(os.getpid()))
        (HERE / "process.incoming").rename(HERE / "process")
        time.sleep(600)

defs = dg.Definitions([first, second], jobs=[dg.define_asset_job("every")], executor=recorded_in_process)
"""


def test_dagster_starts_a_killed_run_again_from_its_first_step(command, tmp_path):
    """Launched as the UI and the schedules do: by the daemon from the queue, in a process of the code server."""
    (tmp_path / "made.py").write_text(DEFINITIONS)
    place = ["-f", str(tmp_path / "made.py"), "-d", str(REPOSITORY)]
    # Two processes that make the same new instance at once get in each other's way.
    dg.DagsterInstance.get().dispose()
    daemon = command.start("run", *place, program="dagster-daemon")
    try:
        assert command.start("job", "launch", *place, "-j", "every").wait(SECONDS) == 0
        with dg.DagsterInstance.get() as instance:
            (run,) = instance.get_runs()
            wait_for((tmp_path / "process").exists)
            os.kill(int((tmp_path / "process").read_text()), signal.SIGKILL)
            # Or the daemon was quicker.
            wait_for(lambda: fail_lost_runs(instance) == [run.run_id] or instance.get_run_by_id(run.run_id).is_failure)
            (again,) = wait_for(lambda: instance.get_runs(dg.RunsFilter(statuses=[DagsterRunStatus.SUCCESS])), 120)
            assert again.parent_run_id == run.run_id
            assert (tmp_path / "first").read_text() == "made\nmade\n"
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(60)


def test_a_run_in_which_a_step_failed_is_not_started_again_by_dagster_and_a_killed_one_twice(command):
    @dg.asset
    def broken() -> None:
        raise dg.Failure("The rows are wrong")

    def is_started_again(run_id: str) -> bool:
        return instance.get_run_by_id(run_id).tags.get("dagster/will_retry") == "true"

    with dg.DagsterInstance.get() as instance:
        assert not is_started_again(dg.materialize([broken], instance=instance, raise_on_error=False).run_id)
        gone = gone_process()
        first = started(instance, gone)
        fail_lost_runs(instance)
        assert is_started_again(first)
        for is_last in (False, True):
            again = started(instance, gone, first=first)
            fail_lost_runs(instance)
            assert is_started_again(again) is not is_last
