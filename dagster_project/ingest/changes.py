"""What a load would find new, without loading anything: the question of every run, asked before anything is imported.

A file counts as known by its size and time, and by its bytes where these differ from the last look; the hashes of these
looks lie beside the ledger.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dagster_project.base.files import replaced
from dagster_project.contracts.forms import Form
from dagster_project.contracts.source import Column, Contract, Table
from dagster_project.ingest import identity, landing
from dagster_project.ingest.landing import LandingFile
from dagster_project.ingest.ledger import FileRecord, Ledger
from dagster_project.ingest.retention import first_kept_day
from dagster_project.ingest.sources import Source
from dagster_project.settings import Settings

LAYOUT = 1
"""Number of what the loader writes; another number loads every file again."""


def contract_hash(contract: Contract, table: Table, key: bytes | None) -> str:
    """Changes with everything that decides how a file becomes rows, and with nothing else."""
    columns = [(x.name, x.data_type, x.required_where or x.required, x.pii, *_how_read(x)) for x in table.columns]
    facts = [LAYOUT, asdict(table.form.dialect), columns, table.event_date, str(table.time_range)]
    if table.form != Form(table.form.dialect):
        facts.append(asdict(table.form))
    facts.append(identity.key_fingerprint(key) if key else None)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _how_read(column: Column) -> list:
    """What decides how a column's values are read, beyond the type; nothing of most columns."""
    facts = {
        "paths": column.paths,
        "hash": column.is_hash,
        "nulls": column.null_values,
        "time": column.unix_time,
        "names": column.names,
    }
    # Files loaded before there were these keys are recognised still.
    later = {"part": column.part, "json": column.is_json}
    found = {**facts, **{key: value for key, value in later.items() if value}}
    return [found] if any(found.values()) else []


def is_settled(record: FileRecord, hashed: str, known: Iterable[FileRecord]) -> bool:
    """Whether a file with the content of this record needs no loading.

    Args:
        hashed: the `contract_hash` of today.
        known: records of the table's files that were not refused.
    """
    if record.status == "loaded":
        return record.contract_hash == hashed
    # Superseded: settled while a later one is the table; not when that was withdrawn for an earlier one.
    return any(other.status == "loaded" and other.file > record.file for other in known)


def changed_tables(contract: Contract, source: Source, settings: Settings) -> dict[str, str]:
    """The tables of a source that a load would change, each with what it would find, in the contract's order.

    Raises:
        LandingError: there is no such landing place, or two different files of it have one name.
    """
    looks = _Looks.read(settings)
    files = list(landing.all_files(source.landing))
    key = identity.read_key(settings)
    found = {}
    for table in contract.tables:
        if reason := _reason(contract, table, source, files, settings, key, looks):
            found[table.name] = reason
    looks.write()
    return found


def table_state(contract: Contract, table: Table, settings: Settings, source: str | None = None) -> str:
    """What the rows of a raw table were loaded from, of one source or of all, as one hash."""
    ledger = Ledger(settings)
    records = [asdict(record) for record in ledger.files(contract.name, table.name, source)]
    sources = sorted({record["source"] for record in records})
    expired = {source: ledger.expired_rows(contract.name, table.name, source) for source in sources}
    text = json.dumps([records, expired], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _reason(
    contract: Contract,
    table: Table,
    source: Source,
    files: list[LandingFile],
    settings: Settings,
    key: bytes,
    looks: "_Looks",
) -> str:
    """What a load of a table would find; empty: nothing."""
    records = Ledger(settings).files(contract.name, table.name, source.name)
    first_kept = first_kept_day(contract, table, settings)
    if first_kept and any(x.first_date and x.first_date < first_kept for x in records if x.status == "loaded"):
        return f"rows from before {first_kept}, which are kept no longer"
    known = {record.file: record for record in records if record.status != "refused"}
    refused = {record.file: record for record in records if record.status == "refused"}
    mine = {file.name: file for file in landing.of_table(table, files)}
    if landing.is_missing(table, list(mine.values()), known):
        return "no file, though the table must be there"
    hashed = contract_hash(contract, table, key if table.is_personal else None)

    def is_known(file: LandingFile) -> bool:
        stored = looks.stored_hash(file)
        record, refusal = known.get(file.name), refused.get(file.name)
        if record and record.stored_hash == stored and is_settled(record, hashed, known.values()):
            return True
        return bool(refusal and (refusal.stored_hash, refusal.contract_hash) == (stored, hashed))

    for name in sorted(mine, reverse=True):
        file = mine[name]
        if not is_known(file):
            return name
        if table.delivery == "snapshot" and not file.defect and name not in refused:
            # Those before it are superseded by it: only their bytes matter.
            earlier = [mine[x] for x in mine if x < name]
            new = [x for x in earlier if x.name not in known or known[x.name].stored_hash != looks.stored_hash(x)]
            new += [x for x in earlier if x.name in known and known[x.name].status == "loaded"]
            return new[0].name if new else ""
    return ""


@dataclass
class _Looks:
    """Stored hashes of files by place, with the size and time that they had."""

    path: Path
    before: dict[str, list] = field(default_factory=dict)
    now: dict[str, list] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Settings) -> "_Looks":
        path = settings.raw_dir / "looks.json"
        try:
            return cls(path, json.loads(path.read_text()))
        except (OSError, ValueError):  # there is none yet, or it is damaged: everything is hashed
            return cls(path)

    def stored_hash(self, file: LandingFile) -> str:
        """The hash of a file; only of one that is not as it was at the last look its bytes are read."""
        state = file.container.lstat()
        place = f"{file.container.absolute()}\0{file.member or ''}"
        found = self.before.get(place)
        if not found or found[:2] != [state.st_size, state.st_mtime_ns]:
            found = [state.st_size, state.st_mtime_ns, file.stored_hash()]
        self.now[place] = found
        return str(found[2])

    def write(self) -> None:
        """Keep the hashes for the next look, those of other landing places too."""
        kept = self.before | self.now
        if kept != self.before:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replaced(self.path) as incoming:
                incoming.write_text(json.dumps(kept))
