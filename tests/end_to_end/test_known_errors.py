"""What a user can put right is told in words, with the exit status that the command line documents."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagster_project.base.locks import WriteLock
from dagster_project.ingest.requests import Erasure, Erasures
from dagster_project.ingest.sources import Source, register_source
from dagster_project.settings import REPOSITORY, Settings
from tests.models.made_source import contract_tables

ERASE = ("erase", "--learner", "11391")
PUBLISH_FOR = ("publish-for", "--program", "bsc")
RUN = ("run", "--source", "uni_a")


@dataclass
class Warehouse:
    """A source with empty files, and the command line."""

    settings: Settings

    def command(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "dagster_project", *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"LEARNING_WAREHOUSE_HOME": str(self.settings.home)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=280,
        )
        return done.returncode, done.stdout


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    settings = Settings(home=tmp_path / "warehouse", pseudonym_key="one key of the learners, and of nobody else")
    landing = tmp_path / "landing"
    landing.mkdir()
    for table, columns in contract_tables().items():
        (landing / f"{table}.csv").write_text(",".join(columns) + "\n")
    register_source(settings, Source("uni_a", "oulad", landing), ["oulad"])
    return Warehouse(settings)


@pytest.mark.parametrize("command", [ERASE, PUBLISH_FOR], ids=lambda command: command[0])
def test_a_command_that_waited_in_vain_says_for_whom(warehouse, command):
    with WriteLock(warehouse.settings, run_id="first", what="make run SOURCE=uni_b"):
        status, output = warehouse.command(*command, LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS="0.5")
    assert "Traceback" not in output
    assert f"could not start to write: make run SOURCE=uni_b (run first, process {os.getpid()}" in output
    assert "LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS sets how long to wait" in output
    assert status == 2


def test_a_run_that_waited_in_vain_says_for_whom(warehouse):
    with WriteLock(warehouse.settings, run_id="first", what="make run SOURCE=uni_b"):
        status, output = warehouse.command(*RUN, LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS="0.5")
    assert "Traceback" not in output
    assert "make run SOURCE=uni_b" in output
    assert "Not published" in output
    assert status == 1


@pytest.mark.parametrize("command", [RUN, ERASE, PUBLISH_FOR], ids=lambda command: command[0])
def test_learners_who_were_erased_under_another_key_are_told_in_words(warehouse, command):
    """With another key nobody would recognise them in a delivery."""
    Erasures(warehouse.settings).save(Erasure("a1b2c3", "uni_a", "no personal data", "2026-01-01T00:00:00"))
    status, output = warehouse.command(*command, LEARNING_WAREHOUSE_PSEUDONYM_KEY="another key, that was set later on")
    assert "Traceback" not in output
    assert "Set the earlier LEARNING_WAREHOUSE_PSEUDONYM_KEY again" in output
    assert status == 2


@pytest.mark.parametrize("command", [RUN, ERASE], ids=lambda command: command[0])
def test_an_unknown_source_is_told_in_words(warehouse, command):
    arguments = ["nobody" if word == "uni_a" else word for word in command]
    status, output = warehouse.command(*arguments, *(["--source", "nobody"] if command is ERASE else []))
    assert "Traceback" not in output
    assert "nobody" in output
    assert status == 2


def test_wrong_settings_are_told_by_their_names_and_none_of_a_secret(warehouse):
    status, output = warehouse.command(
        *RUN,
        LEARNING_WAREHOUSE_THREADS="many",
        LEARNING_WAREHOUSE_RAW_RETENTION_DAYS='{"events": 0}',
        LEARNING_WAREHOUSE_ALERT_ADDRESSES='["T0KEN"]',
    )
    assert "LEARNING_WAREHOUSE_THREADS: found 'many', expected a valid integer. It is: Threads of the engine" in output
    assert "LEARNING_WAREHOUSE_RAW_RETENTION_DAYS[events]: found '0', expected greater than 0" in output
    assert "LEARNING_WAREHOUSE_ALERT_ADDRESSES: address 1 of 1 does not begin with a schema" in output
    assert "pydantic" not in output
    assert "T0KEN" not in output
    assert "Traceback" not in output
    assert status == 2


def test_a_setting_that_is_no_json_is_told_by_its_name(warehouse):
    status, output = warehouse.command(*RUN, LEARNING_WAREHOUSE_RAW_RETENTION_DAYS="three years")
    assert "LEARNING_WAREHOUSE_RAW_RETENTION_DAYS: found 'three years', expected JSON. It is: Days that raw" in output
    assert status == 2


def test_a_ledger_that_cannot_be_opened_is_told_in_words(warehouse):
    """The same kind of error as every other known one: no list of classes stands beside it."""
    warehouse.settings.raw_dir.mkdir()
    (warehouse.settings.raw_dir / "ledger.sqlite").mkdir()
    status, output = warehouse.command(*RUN)
    assert f"{warehouse.settings.raw_dir / 'ledger.sqlite'}: unable to open database file. See that" in output
    assert "Traceback" not in output
    assert status == 2
