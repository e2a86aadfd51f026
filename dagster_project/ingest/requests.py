"""The register of learners who are to be forgotten: `identity/erased.json`.

A learner is known there by keyed hashes alone: their *tombstone* is that of `<source>:<id in raw>`, the key that the
warehouse's tables have for them; those of their direct identifiers tell a malformed row that is theirs.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from dagster_project.base.errors import WarehouseError
from dagster_project.base.files import replaced
from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.source import Contract
from dagster_project.ingest import identity
from dagster_project.settings import PREFIX, Settings

Stage = Literal["asked", "unloaded", "unbuilt", "finished"]


class ErasureError(WarehouseError, ValueError):
    """A learner who cannot be erased, or is not yet; the message says what was found and what to do."""


@dataclass(frozen=True)
class Erasure:
    """One request, and what was done about it.

    Attributes:
        receipt: a random name, under which the receipt is kept.
        removed: rows by place ("raw.events", "identity.learners", "core.fct_submission", …).
        identifiers: keyed hashes of their direct identifiers.
        landing: landing files in which the learner was found when they asked.
        rewritten: those of them from which they were removed.
        troubled: landing files that could not be searched or cleaned, with the reason.
        unloaded_at: when raw was free of them; what was trained before knew them.
        removed_consumers: whose own files (`make publish-for`) were removed, and are to be made anew.
    """

    receipt: str
    source: str
    tombstone: str
    asked_at: str
    stage: Stage = "asked"
    removed: dict[str, int] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    landing: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    troubled: dict[str, str] = field(default_factory=dict)
    unloaded_at: str | None = None
    finished_at: str | None = None
    snapshot: str | None = None
    removed_snapshots: int = 0
    removed_consumers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Erasures:
    """The requests of one warehouse. Writers hold the `WriteLock`."""

    settings: Settings

    def all(self) -> list[Erasure]:
        """Every request, the oldest first.

        Raises:
            ErasureError: they were made under another pseudonym key, so that nobody can tell whom they mean.
        """
        if not self._path.exists():
            return []
        saved = json.loads(self._path.read_text())
        if saved["key"] != identity.key_fingerprint(self.key):
            raise ErasureError(
                f"{self._path}: {len(saved['erasures'])} learners were erased under another pseudonym key; under this "
                f"one a load would bring them back. Set the earlier {PREFIX}PSEUDONYM_KEY again"
            )
        lists = ("identifiers", "landing", "rewritten", "removed_consumers")
        return [Erasure(**x | {name: tuple(x[name]) for name in lists if name in x}) for x in saved["erasures"]]

    def at(self, *stages: Stage, source: str | None = None) -> list[Erasure]:
        """Requests at one of these stages (at any, when none is named), of one source if given."""
        return [x for x in self.all() if (not stages or x.stage in stages) and source in (None, x.source)]

    def save(self, erasure: Erasure) -> Erasure:
        """Adds a request, or replaces it by its new state."""
        others = [x for x in self.all() if x.tombstone != erasure.tombstone]
        saved = sorted([*others, erasure], key=lambda x: (x.asked_at, x.receipt))
        identity.owner_only(self.settings.identity_dir, self.settings.identity_dir)
        text = {"key": identity.key_fingerprint(self.key), "erasures": [asdict(x) for x in saved]}
        # Of who was erased nothing else is known: a power failure leaves the earlier requests or these, whole.
        with replaced(self._path, mode=0o600, synced=True) as incoming:
            incoming.write_text(json.dumps(text, indent=1))
        return erasure

    def last_unloaded(self, source: str) -> datetime | None:
        """When a learner of the source was last removed from raw, UTC without zone; None: never."""
        times = [datetime.fromisoformat(x.unloaded_at) for x in self.at(source=source) if x.unloaded_at]
        return max(times, default=None)

    @cached_property
    def key(self) -> bytes:
        """Key of the keyed hashes, read once."""
        return identity.read_key(self.settings)

    @property
    def _path(self) -> Path:
        return self.settings.identity_dir / "erased.json"


def tombstone(learner_key: str, key: bytes) -> str:
    """What is kept of a learner who is erased: the keyed hash of their key in the warehouse."""
    return keyed_hash(learner_key, key)


def learner_keys(contract: Contract, source: str, learner_id: str, key: bytes) -> list[str]:
    """Keys that the warehouse may have for a source's own id: with its pseudonym, or as it is."""
    columns = [column for table in contract.tables for column in table.person_columns]
    keys = [f"{source}:{keyed_hash(learner_id, key)}"] if any(column.pii for column in columns) else []
    return keys + ([f"{source}:{learner_id}"] if any(column.person for column in columns) else [])
