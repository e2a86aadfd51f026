"""Signals in a command and in the programs that it starts, in processes of their own."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from dagster_project.commands.interruption import NOTHING_BEGUN


def start(script: str) -> subprocess.Popen:
    begin = "from dagster_project.commands.interruption import *\ntake_signals()\nkeep_signals()\n"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", begin + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_command_can_end_the_programs_that_it_starts():
    # Dagster ends those that follow the logs of a run so, and waits for them.
    process = start(
        """
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        child.terminate()
        print(child.wait(timeout=10))
        """
    )
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, f"{-signal.SIGTERM}\n")


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_a_command_with_what_stands_and_with_the_programs_that_it_started(number, name):
    process = start(
        """
        import subprocess, sys, time
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid)
        time.sleep(60)
        """
    )
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert rest.splitlines()[-1] == f"Stopped by {name}. {NOTHING_BEGUN}"
    _, alive = psutil.wait_procs([child], timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_ctrl_c_of_a_terminal_reaches_the_command_alone():
    process = start(
        """
        import subprocess, time
        child = subprocess.Popen([sys.executable, "-uc", "import time\\ntry:\\n print('begun'); time.sleep(60)"
                                  "\\nexcept KeyboardInterrupt:\\n print('seen')"])
        time.sleep(60)
        """
    )
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert "seen" not in rest
    assert process.returncode == 128 + signal.SIGINT
