"""A run that was killed with its process is recorded as failed; one that goes on, here or elsewhere, is left alone."""

import subprocess
import sys

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from dagster_project.defs.lost_runs import PROCESS_TAG, fail_lost_runs, this_process
from dagster_project.defs.resources import WarehouseResource


@dg.op
def nothing() -> None: ...


@dg.job
def work() -> None:
    nothing()


def gone_process() -> str:
    """What the tag of a run says whose process has ended."""
    script = "from dagster_project.defs.lost_runs import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("process", "status"),
    [
        (gone_process, DagsterRunStatus.FAILURE),
        (this_process, DagsterRunStatus.STARTED),
        (lambda: this_process().rsplit(" ", 1)[0] + " 1000000000", DagsterRunStatus.FAILURE),
        (lambda: "another-host 1 1000000000", DagsterRunStatus.STARTED),
    ],
    ids=["gone", "there", "number taken by another", "other host"],
)
def test_a_run_without_its_process_is_recorded_as_failed(process, status):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(work, status=DagsterRunStatus.STARTED, tags={PROCESS_TAG: process()})
        assert fail_lost_runs(instance) == ([run.run_id] if status is DagsterRunStatus.FAILURE else [])
        assert instance.get_run_by_id(run.run_id).status is status


def test_a_run_says_where_it_works(settings):
    @dg.asset
    def table(warehouse: WarehouseResource) -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([table], resources={"warehouse": WarehouseResource()}, instance=instance)
        assert instance.get_run_by_id(result.run_id).tags[PROCESS_TAG] == this_process()
