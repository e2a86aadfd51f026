"""Runs whose process is gone: nobody told Dagster, and a run that seems to go on keeps all others in the queue."""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import psutil
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.storage.tags import RETRY_STRATEGY_TAG

PROCESS_TAG = "learning_warehouse/process"
"""Where a run works: its id, host, process, and second in which that process began, since numbers of processes recur.
The id, because a run that is started again gets the tags of the first one."""
BEGUN_BY_TAG = "learning_warehouse/begun_by"
"""The process of the command that began a run and works on it."""
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
SETTLED = timedelta(minutes=10)
"""Age from which a run that never said where it works is taken for lost."""
CLOCK_STEP = 60.0
"""Seconds by which a correction of the clock may move the beginning of a process."""


def this_process() -> str:
    """Host, number and second of the beginning of this process."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def work_tags(run: dg.DagsterRun) -> dict[str, str]:
    """Tags of a run that begins to work in this process.

    Started again, it begins with its first step: what another run has written in between is in it then.
    """
    return {PROCESS_TAG: f"{run.run_id} {this_process()}", RETRY_STRATEGY_TAG: "ALL_STEPS"}


class RecordedExecutor(InProcessExecutor):
    """Every step in the process of the run, which is written down before the first one begins."""

    def execute(self, plan_context, execution_plan) -> Iterator[dg.DagsterEvent]:
        """Dagster's events of the run, after its process is in its tags."""
        run = plan_context.dagster_run
        plan_context.instance.add_run_tags(run.run_id, work_tags(run))
        yield from super().execute(plan_context, execution_plan)


# Dagster takes the schema of a definition too; its annotation names only what users write.
@dg.executor(name="in_process", config_schema=dg.in_process_executor.config_schema)  # ty: ignore[invalid-argument-type]
def recorded_in_process(context: dg.InitExecutorContext) -> RecordedExecutor:
    """The executor of every job of the definitions: assets, ops, and whatever is chosen in the UI."""
    create = dg.in_process_executor.executor_creation_fn
    dagsters_own = create(context) if create else None
    assert isinstance(dagsters_own, InProcessExecutor), "Dagster's executor in one process is of another class"
    return RecordedExecutor(
        retries=dagsters_own.retries,
        step_dependency_config=dagsters_own.step_dependency_config,
        marker_to_close=dagsters_own.marker_to_close,
    )


def cancel_runs(instance: dg.DagsterInstance, process: str) -> list[str]:
    """Record as canceled the runs that a process (`this_process`) has begun and is about to leave; returns their ids.

    Such a run says who began it in the tag `BEGUN_BY_TAG`.
    """
    begun = dg.RunsFilter(tags={BEGUN_BY_TAG: process}, statuses=UNFINISHED)
    canceled = instance.get_runs(begun)
    for run in canceled:
        instance.report_run_canceled(run, "It was stopped where it was begun. Nothing was lost.")
    return [run.run_id for run in canceled]


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed every run that was killed together with its process; returns their ids.

    One that somebody was stopping at that moment is recorded as canceled, so that nothing starts it again. Runs of
    other hosts are left alone: their processes cannot be seen from here.
    """
    active = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    lost = []
    for record in instance.get_run_records(active):
        run = record.dagster_run
        if not _is_lost(run, record.start_time):
            continue
        why = "Its process is gone: it was killed, or the machine went down. Nothing was lost; "
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, why + "it was about to be stopped, and is not started again.")
        else:
            instance.report_run_failed(run, why + "the next run takes up what it left.")
        lost.append(run.run_id)
    return lost


def _is_lost(run: dg.DagsterRun, started: float | None) -> bool:
    run_id, _, process = run.tags.get(PROCESS_TAG, "").partition(" ")
    if run_id != run.run_id:
        age = datetime.now(UTC) - datetime.fromtimestamp(started or 0, UTC)
        return started is not None and age > SETTLED
    host, pid, created = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return False
    try:
        running = psutil.Process(int(pid))
        # What nobody has asked after since it was killed is still in the table of processes.
        return running.status() == psutil.STATUS_ZOMBIE or abs(running.create_time() - float(created)) > CLOCK_STEP
    except psutil.NoSuchProcess:
        return True
