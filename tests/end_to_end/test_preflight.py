"""What is wrong with a command is told in two seconds, before Dagster or dbt is imported."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.ingest.sources import Source, register_source
from dagster_project.settings import REPOSITORY, Settings
from tests.models.made_source import contract_tables

# CPU and not wall time: other programs work on the machine that runs tests.
CPU_SECONDS = 2.0
# Of every process that is started: whether it has imported what takes so long.
HEAVY = (
    "import atexit, sys; atexit.register(lambda: print('HEAVY', [x for x in ('dagster', 'dbt') if x in sys.modules]))"
)


def command(home: Path, *arguments: str) -> tuple[int, str, float]:
    """Status, output and CPU seconds of a command."""
    (home / "site").mkdir(parents=True, exist_ok=True)
    (home / "site" / "sitecustomize.py").write_text(HEAVY)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "dagster_project", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"LEARNING_WAREHOUSE_HOME": str(home), "PYTHONPATH": str(home / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.returncode, done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_told_at_once(home: Path, *arguments: str) -> str:
    status, output, seconds = command(home, *arguments)
    assert "HEAVY []" in output, output
    assert "Traceback" not in output
    assert status == 2
    assert seconds < CPU_SECONDS
    return output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    for table, columns in contract_tables().items():
        (folder / f"{table}.csv").write_text(",".join(columns) + "\n")
    return folder


def test_a_typo_in_a_source_is_told_at_once_with_the_name_that_may_be_meant(home, landing):
    register_source(Settings(home=home), Source("oulad", "oulad", landing), ["oulad"])
    output = is_told_at_once(home, "run", "--source", "ouladd")
    assert "Source 'ouladd' is not known" in output
    assert "Did you mean 'oulad'?" in output
    assert "make run SOURCE=ouladd LANDING=path" in output


def test_a_typo_in_a_contract_is_told_at_once(home, landing):
    output = is_told_at_once(home, "run", "--source", "uni_a", "--landing", str(landing), "--contract", "oulat")
    assert "There is no contract 'oulat'" in output
    assert "Did you mean 'oulad'?" in output


def test_files_that_cannot_be_loaded_are_told_at_once_and_all_of_them(home, landing):
    (landing / "courses.csv").rename(landing / "course.csv")
    (landing / "vle.csv").write_text((landing / "vle.csv").read_text().replace(",", ";"))
    (landing / "assessments.csv").write_text("x,y\n")
    arguments = ("run", "--source", "uni_a", "--landing", str(landing), "--contract", "oulad")
    output = is_told_at_once(home, *arguments)
    assert "table courses" in output
    assert "Did you mean courses.csv?" in output
    assert "vle.csv: the file is separated by ';' where the contract oulad says ','; set `csv: delimiter` in" in output
    assert "column id_assessment is missing" in output
    assert not (home / "sources.json").exists()


def test_an_occupied_port_is_told_at_once_with_another_one(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = is_told_at_once(home, "ui", "--port", str(port))
    assert f"Port {port} of 127.0.0.1 is taken by process {os.getpid()} (" in output
    assert "make ui PORT=" in output


@pytest.mark.parametrize("port", ["70000", "x", "0"])
def test_a_number_that_is_no_port_is_told_at_once(home, port):
    assert "is no port: a whole number from 1 to 65535" in is_told_at_once(home, "ui", "--port", port)
