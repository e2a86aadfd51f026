"""What every command needs: Dagster's home, the path, errors in words, the line to the terminal."""

import errno
import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from dagster_project.base import clock
from dagster_project.base.errors import WarehouseError
from dagster_project.settings import PREFIX, REPOSITORY, Settings

FAULTS_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR}


def known_error(error: BaseException | None) -> WarehouseError | None:
    """The error of ours that one is, or that it was made from; None: there is none, and a traceback says more."""
    while error is not None and not isinstance(error, WarehouseError):
        error = error.__cause__
    return error


def wrong_settings(error: ValidationError | SettingsError) -> str:
    """What is wrong with the settings: the variable, what was found (of a secret nothing), and what is expected."""
    if isinstance(error, SettingsError):  # text that is no JSON, where a setting is JSON
        match = re.search(r'field "(\w+)"', str(error))
        if match is None:
            return str(error)
        return _wrong_setting(match[1], os.environ.get(f"{PREFIX}{match[1].upper()}"), "expected JSON").join(["  ", ""])
    lines = []
    for fault in error.errors(include_url=False):
        message = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:  # found by a rule about several settings, in words of its own
            lines.append(message)
            continue
        name = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{name}: no such setting. Its line in {REPOSITORY / '.env'} is to go, or to be put right")
            continue
        expected = re.sub("^Input should be", "expected", message.partition(", unable to")[0])
        lines.append(_wrong_setting(name, fault["input"], expected, "".join(f"[{x}]" for x in fault["loc"][1:])))
    return "\n".join(f"  {line}" for line in lines)


def _wrong_setting(name: str, value: object, expected: str, within: str = "") -> str:
    field = Settings.model_fields[name]
    is_secret = SecretStr.__name__ in str(field.annotation)
    found = "" if is_secret or value is None else f"found {str(value)[:100]!r}, "
    return f"{PREFIX}{name.upper()}{within}: {found}{expected}. It is: {field.description or name}"


def fault_of_the_machine(error: BaseException | None) -> str | None:
    """What a full disk or a closed folder is called, somewhere in the chain of an error; None: it is something else."""
    while error is not None:
        cause = getattr(error, "orig", error)  # what SQLAlchemy wraps
        if isinstance(cause, OSError) and cause.errno in FAULTS_OF_THE_MACHINE:
            return f"{cause.strerror}: {cause.filename}" if cause.filename else str(cause.strerror)
        if isinstance(cause, sqlite3.OperationalError) and re.search("disk|readonly|unable to open", str(cause)):
            return f"{cause}, says the file in which Dagster or the loader keeps its records"
        error = error.__cause__ or error.__context__
    return None


def prepare_environment(settings: Settings) -> None:
    """Dagster keeps its runs inside the warehouse folder; neither it nor its friends call home."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REPOSITORY / "dagster_project" / "dagster.yaml", home / "dagster.yaml")
    os.environ.setdefault("DAGSTER_HOME", str(home.resolve()))
    # dagster-dbt looks for dbt on the path, and this environment need not be activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if settings.clock:  # also where `.env` sets it
        os.environ[clock.VARIABLE] = settings.clock.isoformat()
    # Dagster's own commands import the event log that dagster.yaml names.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    # What Dagster logs of all months of a table, or of all that a run is going to do, is written at once.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")


def say(line: str) -> None:
    """A line to the terminal, beside what a command returns on standard output."""
    print(line, file=sys.stderr, flush=True)
