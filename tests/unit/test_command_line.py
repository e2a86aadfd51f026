"""What the command line says when the machine, and not the warehouse, is at fault."""

import errno
import os
import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy.exc import OperationalError

from dagster_project.__main__ import fault_of_the_machine
from dagster_project.settings import REPOSITORY


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "raw/x.parquet"), "No space left on device: raw/x.parquet"),
        (PermissionError(errno.EACCES, "Permission denied", "raw"), "Permission denied: raw"),
        (OperationalError("insert", {}, sqlite3.OperationalError("database or disk is full")), "disk is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "readonly"),
    ],
)
def test_full_disks_and_closed_folders_are_told_in_words(error, words):
    assert words in fault_of_the_machine(error)
    outer = RuntimeError("while loading")
    outer.__cause__ = error
    assert words in fault_of_the_machine(outer)


@pytest.mark.parametrize("error", [ValueError("disk"), FileNotFoundError(errno.ENOENT, "no such file", "x")])
def test_other_errors_are_shown_as_they_are(error):
    assert fault_of_the_machine(error) is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LEARNING_WAREHOUSE_HOME": f"{__file__}/warehouse"}, "The run broke off"),
        ({"LEARNING_WAREHOUSE_THREADS": "none"}, "A setting is wrong"),
    ],
)
def test_a_run_that_cannot_start_shows_no_stack_trace(environment, words):
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", "run", "--source", "any"],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
