"""Asking for an erasure, from the job `erase_learner`."""

from collections.abc import Mapping
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.contracts.source import Contract
from dagster_project.ingest.erasure import note_landing_files, request_erasure
from dagster_project.ingest.requests import Erasure, ErasureError
from dagster_project.ingest.sources import SourceError, find_source
from dagster_project.settings import Settings


def request_file(settings: Settings) -> Path:
    """Where the job `erase_learner` finds whom to erase: what a run is told, Dagster keeps, and this it must not."""
    return settings.identity_dir / "erase.txt"


def take_requests(settings: Settings, contracts: Mapping[str, Contract]) -> tuple[list[Erasure], list[str]]:
    """Note the erasures that `request_file` asks for; the next run of their sources carries them out.

    A line is the name of a source, a blank, and the learner's id as the source's files write it, or his key in
    core.dim_learner. Lines that were noted are gone from the file, and with the last one the file. Call it while
    holding the `WriteLock`.

    Args:
        contracts: by name.

    Returns:
        The requests, and what is wrong with the lines that are left; it names no learner.
    """
    path = request_file(settings)
    lines = path.read_text().splitlines() if path.exists() else []
    noted, wrong, left = [], [], []
    for number, line in enumerate(lines, start=1):
        name, _, learner = line.strip().partition(" ")
        if not name:
            continue
        try:
            source = find_source(settings, name)
            who = "learner_key" if learner.startswith(f"{name}:") else "learner_id"
            erasure = request_erasure(settings, contracts[source.contract], name, **{who: learner.strip()})
            if who == "learner_id":
                contract = contracts[source.contract]
                erasure = note_landing_files(contract, name, source.landing, learner.strip(), erasure, settings)
            noted.append(erasure)
        except (ErasureError, SourceError) as error:
            wrong.append(f"line {number}: {error}")
            left.append(line)
    if left:
        with replaced(path, mode=0o600, synced=True) as incoming:
            incoming.write_text("\n".join(left) + "\n")
    else:
        path.unlink(missing_ok=True)
    return noted, wrong
