"""The sources a warehouse knows: named instances of a contract, each with the place where its files land."""

import fcntl
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dagster_project.base.errors import WarehouseError
from dagster_project.base.files import replaced
from dagster_project.base.words import did_you_mean
from dagster_project.settings import Settings

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class SourceError(WarehouseError, ValueError):
    """A source that cannot be registered or found; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """A named instance of a contract, e.g. two universities on `campus`.

    Attributes:
        name: lower-case letters, digits and underscores; part of every key in the warehouse.
        contract: name of the contract that its files follow.
        landing: folder or zip file in which its files lie.
    """

    name: str
    contract: str
    landing: Path


def registered_sources(settings: Settings, contract: str | None = None) -> list[Source]:
    """Sources of this warehouse in order of name, of one contract if given."""
    path = _registry(settings)
    entries = json.loads(path.read_text()) if path.exists() else {}
    sources = [Source(name, entry["contract"], Path(entry["landing"])) for name, entry in sorted(entries.items())]
    return [source for source in sources if contract in (None, source.contract)]


def contracts_with_sources(settings: Settings, contracts: Iterable[str]) -> list[str]:
    """Those contracts, in their order, that a source of this warehouse follows; before there is one, all of them.

    Staging of the others would be empty views: they are not built, and core unites what is there.
    """
    contracts = list(contracts)
    followed = {source.contract for source in registered_sources(settings)}
    return [name for name in contracts if name in followed] or contracts


def find_source(settings: Settings, name: str) -> Source:
    """The registered source of that name.

    Raises:
        SourceError: no such source.
    """
    sources = {source.name: source for source in registered_sources(settings)}
    if name not in sources:
        raise SourceError(
            f"Source {name!r} is not known to the warehouse {settings.home}: it knows {', '.join(sources) or 'none'}."
            f"{did_you_mean(name, sources)} Register a new one with: make run SOURCE={name} LANDING=path "
            "[CONTRACT=contract]"
        )
    return sources[name]


def check_source(settings: Settings, source: Source, contracts: Iterable[str]) -> None:
    """See that a source can be registered; nothing is written.

    Raises:
        SourceError: a name that cannot be part of a key, an unknown contract, a landing place that does not exist, or
            a source that already follows another contract.
    """
    if not NAME.fullmatch(source.name):
        raise SourceError(
            f"Source name {source.name!r} cannot be used: lower-case letters, digits and underscores, beginning with a "
            "letter, 63 at most."
        )
    contracts = sorted(contracts)
    if source.contract not in contracts:
        raise SourceError(
            f"There is no contract {source.contract!r} in use for source {source.name!r}: dbt/dbt_project.yml names "
            f"{', '.join(contracts)} under vars: contracts.{did_you_mean(source.contract, contracts)} Say which one it "
            "follows with CONTRACT=…"
        )
    if not source.landing.exists():
        raise SourceError(
            f"Nothing lies at {source.landing}, the landing place of source {source.name!r}: expected a folder or a "
            "zip file with its files."
        )
    known = {other.name: other for other in registered_sources(settings)}
    if source.name in known and known[source.name].contract != source.contract:
        raise SourceError(
            f"Source {source.name!r} already follows contract {known[source.name].contract!r}, not "
            f"{source.contract!r}: choose another name for the new source."
        )


def register_source(settings: Settings, source: Source, contracts: Iterable[str]) -> None:
    """Remember a source, so that schedules, sensors and the UI load it from now on.

    Raises:
        SourceError: as `check_source`.
    """
    contracts = list(contracts)
    path = _registry(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that register at once, none forgets the other
        check_source(settings, source, contracts)
        _write(path, source, {known.name: known for known in registered_sources(settings)})


def _write(path: Path, source: Source, known: dict[str, Source]) -> None:
    known[source.name] = source
    entries = {s.name: {"contract": s.contract, "landing": str(s.landing.resolve())} for s in known.values()}
    with replaced(path) as incoming:
        incoming.write_text(json.dumps(entries, indent=2))


def _registry(settings: Settings) -> Path:
    return settings.home / "sources.json"
