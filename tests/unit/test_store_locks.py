"""One writing run at a time: over processes, over threads, and after a kill."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dagster_project.base.errors import LockTimeoutError
from dagster_project.base.locks import WriteLock, release_run
from dagster_project.settings import Settings

HOLD = """
import sys, time
from dagster_project.settings import Settings
from dagster_project.base.locks import WriteLock
with WriteLock(Settings(home=sys.argv[1]), run_id="run-of-other", what="nightly schedule"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold_elsewhere(settings: Settings, seconds: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.home), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def make_settings(tmp_path, timeout: float) -> Settings:
    return Settings(home=tmp_path, lock_timeout_seconds=timeout)


def test_second_process_waits_and_is_told_for_whom(tmp_path):
    settings = make_settings(tmp_path, 30)
    other = hold_elsewhere(settings, 0.5)
    messages = []
    with WriteLock(settings, run_id="mine", what="make run", on_wait=messages.append):
        # Its lock is free when it leaves the block, a moment before its process ends.
        assert other.wait(timeout=5) == 0
    assert len(messages) == 1
    assert "nightly schedule (run run-of-other, process" in messages[0]


def test_time_out_names_the_holder_and_what_to_do(tmp_path):
    settings = make_settings(tmp_path, 0.3)
    other = hold_elsewhere(settings, 60)
    started = time.monotonic()
    with pytest.raises(LockTimeoutError) as error:
        WriteLock(settings, run_id="mine", what="make run").acquire()
    assert 0.3 <= time.monotonic() - started < 5
    for part in ("make run could not start", "nightly schedule", f"kill {other.pid}", "LOCK_TIMEOUT_SECONDS"):
        assert part in str(error.value)
    other.kill()
    other.wait()


def test_killed_holder_frees_the_lock(tmp_path):
    settings = make_settings(tmp_path, 5)
    other = hold_elsewhere(settings, 60)
    other.send_signal(signal.SIGKILL)
    other.wait()
    with WriteLock(settings, run_id="mine", what="make run"):
        pass


def test_steps_of_one_run_share_the_lock_and_the_last_release_frees_it(tmp_path):
    settings = make_settings(tmp_path, 0)
    first, second = (WriteLock(settings, run_id="mine", what=what) for what in ("load", "publish"))
    other = WriteLock(settings, run_id="other", what="other run")
    first.acquire()
    second.acquire()
    first.release()
    with pytest.raises(LockTimeoutError, match=r"load \(run mine"):
        other.acquire()
    second.release()
    with other:
        pass


def test_ended_run_is_freed_at_once(tmp_path):
    settings = make_settings(tmp_path, 0)
    for _ in range(3):
        WriteLock(settings, run_id="mine", what="load").acquire()
    release_run(settings, "mine")
    release_run(settings, "mine")
    with WriteLock(settings, run_id="other", what="other run"):
        pass


def test_threads_of_different_runs_exclude_each_other(tmp_path):
    settings = make_settings(tmp_path, 30)
    inside, overlaps = [], []

    def write(run: int) -> None:
        with WriteLock(settings, run_id=str(run), what="thread"):
            inside.append(run)
            time.sleep(0.02)
            overlaps.append(len(inside))
            inside.remove(run)

    threads = [threading.Thread(target=write, args=(run,)) for run in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [1, 1, 1, 1]


def test_forked_child_that_outlives_its_run_keeps_the_lock(tmp_path):
    settings = make_settings(tmp_path, 0)
    lock = WriteLock(settings, run_id="mine", what="load")
    lock.acquire()
    go, stop = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(stop)
        os.read(go, 1)
        os._exit(0)
    os.close(go)
    lock.release()
    other = WriteLock(settings, run_id="other", what="other run")
    with pytest.raises(LockTimeoutError):
        other.acquire()
    os.close(stop)
    os.waitpid(child, 0)
    with other:
        pass
