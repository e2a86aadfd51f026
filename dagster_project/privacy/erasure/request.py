"""Asking for an erasure: by `make erase`, or by the job `erase_learner` and its file."""

from collections.abc import Mapping
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.base.locks import WriteLock
from dagster_project.contracts.source import Contract
from dagster_project.ingest.erasure import note_landing_files, request_erasure
from dagster_project.ingest.requests import Erasure, ErasureError, Erasures
from dagster_project.ingest.sources import Source, SourceError, find_source
from dagster_project.settings import Settings
from dagster_project.store.erasure import ErasedLearners, are_kept


def request_file(settings: Settings) -> Path:
    """Where the job `erase_learner` finds whom to erase: what a run is told, Dagster keeps, and this it must not."""
    return settings.identity_dir / "erase.txt"


def ask(settings: Settings, contract: Contract, source: Source, learner: str, lock: WriteLock) -> Erasure:
    """Note that a learner is to be erased, and which landing files hold them; the next run of the source does it.

    Args:
        contract: of the source.
        learner: the id as the source's files write it, or the key in core.dim_learner. A key has the source's name and
            a colon in front; landing files do not know it, and are not searched for it.
        lock: is held meanwhile.

    Returns:
        The request; an earlier one, if they were erased before.

    Raises:
        ErasureError: no table of the source holds them.
    """

    def is_kept(hashed: str) -> bool:
        return are_kept(settings, ErasedLearners([hashed], Erasures(settings).key))

    with lock:
        if learner.startswith(f"{source.name}:"):
            return request_erasure(settings, contract, source.name, learner_key=learner, is_kept=is_kept)
        erasure = request_erasure(settings, contract, source.name, learner_id=learner, is_kept=is_kept)
        return note_landing_files(contract, source.name, source.landing, learner, erasure, settings)


def take_requests(
    settings: Settings, contracts: Mapping[str, Contract], lock: WriteLock
) -> tuple[list[Erasure], list[str]]:
    """Note the erasures that `request_file` asks for; the next run of their sources carries them out.

    A line is the name of a source, a blank, and whom to erase, as for `ask`. Lines that were noted are gone from the
    file, and with the last one the file.

    Args:
        contracts: by name.
        lock: is held meanwhile.

    Returns:
        The requests, and what is wrong with the lines that are left; it names no learner.
    """
    path = request_file(settings)
    noted, wrong, left = [], [], []
    with lock:
        lines = path.read_text().splitlines() if path.exists() else []
        for number, line in enumerate(lines, start=1):
            name, _, learner = line.strip().partition(" ")
            if not name:
                continue
            try:
                source = find_source(settings, name)
                noted.append(ask(settings, contracts[source.contract], source, learner.strip(), lock))
            except (ErasureError, SourceError) as error:
                wrong.append(f"line {number}: {error}")
                left.append(line)
        if left:
            with replaced(path, mode=0o600, synced=True) as incoming:
                incoming.write_text("\n".join(left) + "\n")
        else:
            path.unlink(missing_ok=True)
    return noted, wrong
