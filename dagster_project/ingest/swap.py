"""Puts a finished load into its place, and completes what a kill interrupted."""

import fcntl
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dagster_project.ingest.identity import owner_only
from dagster_project.ingest.ledger import Ledger, Operation
from dagster_project.settings import Settings


def incoming_folders(settings: Settings) -> tuple[Path, ...]:
    """Where loads write before they are complete: raw rows, identities, extracted files. On the disk of the targets."""
    return settings.raw_dir / "_incoming", settings.identity_dir / "_incoming", settings.temp_dir / "_incoming"


@contextmanager
def only_loader(settings: Settings) -> Generator[None]:
    """Waits until no other process loads into this warehouse, and keeps others out until the end."""
    settings.raw_dir.mkdir(parents=True, exist_ok=True)
    with (settings.raw_dir / "_loader.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system lets go of it when the process dies
        yield


def put_in_place(operation: Operation, ledger: Ledger, settings: Settings) -> None:
    """Moves files, removes what they replace, and records the result. Can be done again after a kill at any point."""
    for source, target in operation.moves:
        target_path = settings.home / target
        if (settings.home / source).exists():
            if settings.identity_dir in target_path.parents:
                owner_only(target_path.parent, settings.identity_dir)
            target_path.parent.mkdir(parents=True, exist_ok=True)
            (settings.home / source).replace(target_path)
    for removal in operation.removals:
        path = settings.home / removal
        path.unlink(missing_ok=True)
        if path.parent.name.startswith("event_date=") and path.parent.exists() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    ledger.finish(operation)


def finish_interrupted(ledger: Ledger, settings: Settings) -> None:
    """Completes loads that were killed while their files moved, and removes what unfinished ones left."""
    for operation in ledger.interrupted():
        put_in_place(operation, ledger, settings)
    for folder in incoming_folders(settings):
        shutil.rmtree(folder, ignore_errors=True)
