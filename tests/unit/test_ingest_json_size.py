"""A file of a gigabyte of JSON lines, one of a hundred broken: every line accounted for, in less memory than it has."""

import re
import subprocess
import sys

import pytest

from dagster_project.settings import REPOSITORY

LINES = 2_250_000
MOST_MEGABYTES = 1_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_gigabyte_of_lines_is_loaded_in_bounded_memory():
    command = [sys.executable, "-m", "benchmarks.landing", "--lines", str(LINES), "--broken"]
    told = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    print(told)
    size, accepted, refused, peak = (
        int(number.replace(",", ""))
        for number in re.search(r"([\d,]+) MB: ([\d,]+) accepted, ([\d,]+) refused.*peak ([\d,]+) MB", told).groups()
    )
    assert size >= 1_000
    assert accepted + refused == LINES
    assert peak <= MOST_MEGABYTES
