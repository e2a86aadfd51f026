"""Runs whose process is gone: nobody told Dagster, and a run that seems to go on keeps all others in the queue."""

import os
import socket
from datetime import UTC, datetime, timedelta

import dagster as dg
import psutil

PROCESS_TAG = "learning_warehouse/process"
"""Where a run works: host, process, and second in which that process began, since numbers of processes recur."""
SETTLED = timedelta(minutes=10)
"""Age from which a run that never said where it works is taken for lost."""
CLOCK_STEP = 60.0
"""Seconds by which a correction of the clock may move the beginning of a process."""


def this_process() -> str:
    """Value of `PROCESS_TAG` for a run of this process."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed every run that was killed together with its process; returns their ids.

    Runs of other hosts are left alone: their processes cannot be seen from here.
    """
    active = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    lost = []
    for record in instance.get_run_records(active):
        if _is_lost(record.dagster_run.tags.get(PROCESS_TAG), record.start_time):
            instance.report_run_failed(
                record.dagster_run,
                "Its process is gone: it was killed, or the machine went down. Nothing was lost; "
                "the next run takes up what it left.",
            )
            lost.append(record.dagster_run.run_id)
    return lost


def _is_lost(process: str | None, started: float | None) -> bool:
    if process is None:
        age = datetime.now(UTC) - datetime.fromtimestamp(started or 0, UTC)
        return started is not None and age > SETTLED
    host, pid, created = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > CLOCK_STEP
    except psutil.NoSuchProcess:
        return True
