"""What every command needs: Dagster's home, the path, faults of the machine, the line to the terminal."""

import errno
import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path

from dagster_project.settings import REPOSITORY, Settings

FAULTS_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR}


def known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message says what was found, where, and what to do: a traceback would only hide it."""
    from dagster_project.analyses.quality.suite import SuiteError
    from dagster_project.base.errors import StoreError
    from dagster_project.contracts.reading import ContractError
    from dagster_project.ingest.landing import LandingError
    from dagster_project.ingest.requests import ErasureError
    from dagster_project.ingest.retention import RetentionError
    from dagster_project.ingest.sources import SourceError

    return ContractError, ErasureError, LandingError, RetentionError, SourceError, StoreError, SuiteError


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
    # Dagster's own commands import the event log that dagster.yaml names.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning")


def say(line: str) -> None:
    """A line to the terminal, beside what a command returns on standard output."""
    print(line, file=sys.stderr, flush=True)
