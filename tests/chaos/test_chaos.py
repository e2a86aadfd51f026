"""The short version of `make chaos`: three runs are killed; clean runs after them end as if nothing had been."""

import subprocess
import sys

import pytest

from dagster_project.settings import REPOSITORY


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_clean_run_after_a_fault_ends_as_if_nothing_had_been():
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--kills", "3", "--only", "kill"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "0 errors, 0 mixed snapshots" in done.stdout
    assert "3 kills survived" in done.stdout
