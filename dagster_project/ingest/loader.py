"""Loads the landing files of one table into raw: text in, typed Parquet out, refused rows into quarantine.

A file is known by its logical name. The same content under the same contract loads nothing; new content replaces the
rows of that file. A file goes through these steps, and nothing in raw changes before the last one:

1. its content is brought to disk and hashed (`landing`);
2. its columns are compared with the contract by name (`conversion`), its records are counted (`records`);
3. the engine casts and checks every row (`sql`) and writes the good ones to `raw/_incoming`; their number plus the
   number of refused ones must equal the number of records;
4. refused rows get their exact bytes and go to quarantine;
5. the changed event dates are marked, the files move into place, the file is recorded (`ledger`, `swap`).
"""

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

from dagster_project.base.engine import open_engine
from dagster_project.base.errors import WarehouseError
from dagster_project.base.files import on_disk, replaced
from dagster_project.base.sql import literal
from dagster_project.base.threads import in_order
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import identity, landing, quarantine, retention, sql
from dagster_project.ingest.changes import contract_hash, is_settled
from dagster_project.ingest.conversion import Conversion, Converted, Folders
from dagster_project.ingest.landing import LandingError, LandingFile
from dagster_project.ingest.ledger import FileRecord, Ledger, Operation
from dagster_project.ingest.recognition import Erased
from dagster_project.ingest.records import BrokenFile
from dagster_project.ingest.requests import ErasureError, Erasures
from dagster_project.ingest.simulated import note_simulated
from dagster_project.ingest.swap import finish_interrupted, incoming_folders, only_loader, put_in_place
from dagster_project.settings import Settings

LARGE = 32 << 20
"""Bytes of a landing file from which on its reading is announced: it takes a while."""
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class RefusedFilesError(WarehouseError):
    """Landing files that could not be read as a whole; the message names each with its reason."""


@dataclass(frozen=True)
class FileLoad:
    """What happened to one landing file.

    `records` = `accepted` + `refused` of a file that was read; all are 0 for a file refused whole. For an unchanged
    file they are those of its load.
    """

    name: str
    status: Literal["loaded", "unchanged", "superseded", "refused"]
    records: int = 0
    accepted: int = 0
    refused: int = 0
    reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableLoad:
    """What happened to one table of one source; `changed_dates` are the event dates whose rows changed."""

    contract: str
    table: str
    source: str
    files: tuple[FileLoad, ...]
    changed_dates: tuple[date, ...] = ()

    @property
    def records(self) -> int:
        """Records of all files of the load."""
        return sum(file.records for file in self.files)

    @property
    def accepted(self) -> int:
        """Records of all files that went into raw."""
        return sum(file.accepted for file in self.files)

    @property
    def refused(self) -> int:
        """Records of all files that went into quarantine."""
        return sum(file.refused for file in self.files)

    @property
    def refused_files(self) -> tuple[FileLoad, ...]:
        """Files refused whole."""
        return tuple(file for file in self.files if file.status == "refused")

    def raise_for_refused_files(self) -> None:
        """Raises `RefusedFilesError` when a file was refused whole."""
        if self.refused_files:
            reasons = "".join(f"\n  {file.name}: {file.reason}" for file in self.refused_files)
            raise RefusedFilesError(
                f"{len(self.refused_files)} landing file(s) of table {self.table} (contract {self.contract}, source "
                f"{self.source}) were refused; earlier rows of these names stay as they were:{reasons}"
            )


def load_table(
    contract: Contract,
    table_name: str,
    source: str,
    landing_place: Path,
    settings: Settings,
    *,
    progress: Callable[[str], None] | None = None,
) -> TableLoad:
    """Brings one table of a source up to date with its landing place.

    Args:
        contract: from `read_contract`.
        table_name: a table of it.
        source: name of the instance of the contract; part of the path in raw.
        landing_place: a folder, a zip, or a folder that holds zips.
        settings: where the warehouse lies, and its limits.
        progress: called with one line for every step of a file.

    Raises:
        LandingError: no file for a table that is not optional and was never loaded, or two files of one name.
        ErasureError: learners of the source asked to be erased, and `erasure.unload` has not removed them yet.
        ContractError: no such table.
    """
    table = contract.table(table_name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", source):
        raise LandingError(
            f"source {source!r}: a name is made of letters, digits, '_', '-' and '.', a letter or digit first"
        )
    note_simulated(landing_place, settings)
    if re.search(r"[*?\[]", str(settings.home)):
        raise LandingError(
            f"{settings.home}: a warehouse folder must not have *, ? or [ in its path; the engine reads patterns"
        )
    with only_loader(settings):
        finish_interrupted(Ledger(settings), settings)
        if asked := Erasures(settings).at("asked", source=source):
            raise ErasureError(
                f"Source {source}: {len(asked)} of its learners asked to be erased, and their rows are still in "
                f"{settings.raw_dir}. Nothing is loaded before they are gone: `make run SOURCE={source}`, or the raw "
                "tables of the Dagster UI, remove them first (`ingest.erasure.unload`)"
            )
        expired = retention.expire(contract, table, source, settings, progress or (lambda line: None))
        loader = _TableLoader(contract, table, source, settings, progress or (lambda line: None))
        loader.changed.update(expired)
        return loader.run(landing_place)


def ensure_empty_files(contract: Contract, settings: Settings) -> None:
    """Writes, for every table, the typed Parquet file without rows that makes an absent source an empty one."""
    with only_loader(settings), open_engine(settings) as connection:
        for table in contract.tables:
            query = sql.empty_relation(table)
            path = settings.raw_dir / contract.name / table.name / f"source={NO_PARTITION}"
            if table.is_event:
                path /= f"event_date={NO_PARTITION}"
            path /= "empty.parquet"
            if path.exists():
                there = f"from read_parquet({literal(path)}, hive_partitioning = false)"
                described = [connection.execute(f"describe {relation}").fetchall() for relation in (query, there)]
                if described[0] == described[1]:
                    continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced(path) as incoming:
                connection.execute(sql.copy_to_parquet(query, incoming))


class _TableLoader:
    """One call of `load_table`."""

    def __init__(self, contract: Contract, table: Table, source: str, settings: Settings, say: Callable[[str], None]):
        self.contract, self.table, self.source, self.settings, self.say = contract, table, source, settings, say
        self.ledger = Ledger(settings)
        self.key = identity.read_key(settings) if table.is_personal else None
        self.erased = Erased.of(settings, source)
        self.contract_hash = contract_hash(contract, table, self.key)
        self.folder = settings.raw_dir / contract.name / table.name / f"source={source}"
        self.changed: set[date] = set()
        self.swapping = threading.Lock()  # files are converted side by side, and put in place one by one
        known = self.ledger.files(contract.name, table.name, source)
        self.known = {record.file: record for record in known if record.status != "refused"}
        self.refusals = {record.file: record for record in known if record.status == "refused"}

    def run(self, landing_place: Path) -> TableLoad:
        files = landing.find_files(self.table, landing_place, self.settings)
        if landing.is_missing(self.table, files, self.known):
            raise LandingError(
                f"{landing_place}: nothing found for table {self.table.name} of contract {self.contract.name}: "
                f"{landing.describe_missing(self.table, landing_place)}"
            )
        loads = self._load_newest(files) if self.table.delivery == "snapshot" else self._load_all(files)
        return TableLoad(self.contract.name, self.table.name, self.source, tuple(loads), tuple(sorted(self.changed)))

    def _load_all(self, files: list[LandingFile]) -> list[FileLoad]:
        """Several files side by side, which share the engine's threads and memory."""
        workers = min(self.settings.threads, len(files))
        if workers > 1:
            self.settings = self.settings.share(workers)
        return list(in_order(self._load_file, ((file,) for file in files), max(workers, 1)))

    def _load_newest(self, files: list[LandingFile]) -> list[FileLoad]:
        """The last file by name that can be read is the table; earlier new ones are recorded as superseded by it."""
        loads: list[FileLoad] = []
        is_decided = False
        for file in reversed(files):
            if not is_decided or file.defect:
                loads.append(self._load_file(file))
                is_decided |= loads[-1].status != "refused"
                continue
            known = self.known.get(file.name)
            stored_hash = file.stored_hash()
            if known is None or known.stored_hash != stored_hash or known.status == "loaded":
                self.ledger.note(self._record(file, "superseded", stored_hash))
                loads.append(FileLoad(file.name, "superseded"))
            else:
                loads.append(FileLoad(file.name, "unchanged"))
        return loads[::-1]

    def _load_file(self, file: LandingFile) -> FileLoad:
        known, refusal = self.known.get(file.name), self.refusals.get(file.name)
        is_plain = not (file.member or file.packing or file.defect)
        # A plain file is hashed while it is read; to hash it before that is worth it only if it may be known.
        stored_hash = None if is_plain and not (known or refusal) else file.stored_hash()
        if known and known.stored_hash == stored_hash and self._is_settled(known):
            return self._unchanged(known)
        if refusal and (stored_hash, self.contract_hash) == (refusal.stored_hash, refusal.contract_hash):
            self.say(f"{file.name}: refused, as before: {refusal.reason}")
            return FileLoad(file.name, "refused", reason=refusal.reason)
        state = _state(file)
        if state[0] > LARGE:
            self.say(f"{file.name}: reading")
        started = time.monotonic()
        load_id = secrets.token_hex(8)
        folders = Folders(*(folder / load_id for folder in incoming_folders(self.settings)))
        identity.owner_only(folders.work, self.settings.temp_dir)
        kept = False
        try:
            with landing.content_of(file, folders.work, self.settings) as content:
                stored_hash = stored_hash or content.content_hash
                if known and known.content_hash == content.content_hash and self._is_settled(known):
                    return self._unchanged(replace(known, stored_hash=stored_hash))
                conversion = Conversion(
                    self.contract, self.table, file.name, content, self.key, folders, self.settings, self.erased
                )
                try:
                    converted = conversion.converted(file.format)
                except BrokenFile:
                    self._keep(content.path, file, self.table)
                    kept = True
                    raise
                converted, expired = retention.without_expired(converted, self.contract, self.table, self.settings)
                if _state(file) != state:
                    raise LandingError(
                        f"{file.container}: changed while it was being read; load it again when it is complete"
                    )
            record = self._record(file, "loaded", stored_hash, content.content_hash, converted)
            on_disk(folders.raw)
            with self.swapping:
                operation = self._operation(load_id, record, converted, expired)
                self.ledger.begin(operation)
                put_in_place(operation, self.ledger, self.settings)
        except BrokenFile as error:
            if not kept:
                self._keep(file.container, file, None if file.member or file.defect else self.table)
            stored_hash = stored_hash or file.stored_hash()
            self.ledger.note(replace(self._record(file, "refused", stored_hash), reason=str(error)))
            self.say(f"{file.name}: refused: {error}")
            return FileLoad(file.name, "refused", reason=str(error))
        finally:
            for folder in (folders.raw, folders.identity, folders.work):
                shutil.rmtree(folder, ignore_errors=True)
        self.changed.update(operation.dates)
        seconds = time.monotonic() - started
        passed_over = f", {expired:,} too old to be kept" if expired else ""
        self.say(
            f"{file.name}: {record.accepted:,} rows loaded, {record.refused:,} refused{passed_over}, in {seconds:.1f} s"
        )
        return FileLoad(file.name, "loaded", record.records, record.accepted, record.refused, warnings=record.warnings)

    def _is_settled(self, known: FileRecord) -> bool:
        return is_settled(known, self.contract_hash, self.known.values())

    def _unchanged(self, known: FileRecord) -> FileLoad:
        if known.file in self.refusals:  # the content from before the refused one has come back
            for path in self._kept_copies(known.file_key):
                path.unlink(missing_ok=True)
        if known.file in self.refusals or known != self.known[known.file]:
            self.ledger.note(known)
        self.say(f"{known.file}: unchanged")
        if known.status == "superseded":
            return FileLoad(known.file, "unchanged")
        return FileLoad(known.file, "unchanged", known.records, known.accepted, known.refused, warnings=known.warnings)

    def _record(
        self,
        file: LandingFile,
        status: Literal["loaded", "superseded", "refused"],
        stored_hash: str,
        content_hash: str | None = None,
        converted: Converted | None = None,
    ) -> FileRecord:
        record = FileRecord(
            contract=self.contract.name,
            table=self.table.name,
            source=self.source,
            file=file.name,
            file_key=file.key,
            status=status,
            stored_hash=stored_hash,
            contract_hash=self.contract_hash,
            content_hash=content_hash,
        )
        if converted is None:
            return record
        days = sorted(day for day in converted.rows if day)
        return replace(
            record,
            records=converted.records,
            accepted=converted.accepted,
            refused=converted.refused,
            warnings=converted.warnings,
            first_date=days[0] if days else None,
            last_date=days[-1] if days else None,
        )

    def _operation(self, load_id: str, record: FileRecord, converted: Converted, expired: int) -> Operation:
        """What moves where, and what vanishes.

        That is rows, refused rows and identities of the file's earlier content, and of every other file of a snapshot.
        """
        supersedes = self.table.delivery == "snapshot"
        file_name = f"{record.file_key}.parquet"
        quarantine_folder = quarantine.rows_folder(self.contract, self.table, self.source, self.settings)
        identity_folder = self.settings.identity_dir / self.contract.name / self.table.name / f"source={self.source}"
        moves = [
            (path, (self.folder / f"event_date={day}" if day else self.folder) / file_name)
            for day, path in converted.rows.items()
        ]
        if converted.quarantine:
            moves.append((converted.quarantine, quarantine_folder / file_name))
        if converted.identities:
            moves.append((converted.identities, identity_folder / file_name))
        pattern = "*.parquet" if supersedes else file_name
        earlier: list[Path] = []
        if supersedes or record.file in self.known:  # to look for a file in thousands of days takes a while
            earlier = [*self.folder.rglob(pattern), *quarantine_folder.glob(pattern), *identity_folder.glob(pattern)]
        targets = {target for _, target in moves}
        dates = {_date_of(path) for path in [*earlier, *targets]}
        return Operation(
            load_id=load_id,
            record=record,
            moves=tuple((self._relative(path), self._relative(target)) for path, target in moves),
            removals=tuple(
                self._relative(path) for path in [*earlier, *self._kept_copies(record.file_key)] if path not in targets
            ),
            dates=tuple(sorted(day for day in dates if day)),
            supersedes=supersedes,
            expired=expired,
        )

    def _keep(self, path: Path, file: LandingFile, table: Table | None) -> None:
        if file.defect == landing.OUTSIDE_LINK:
            return  # a link has no bytes of its own, and what it leads to is not the source's
        folder = quarantine.files_folder(self.contract, table, self.source, self.settings)
        original = file.container.name if path == file.container else file.name
        kept = quarantine.keep_file(path, folder, quarantine.kept_name(file.key, original), self.settings)
        if self.erased:
            quarantine.mask_file(kept, self.erased.masked)

    def _kept_copies(self, file_key: str) -> list[Path]:
        folders = [
            quarantine.files_folder(self.contract, table, self.source, self.settings) for table in (self.table, None)
        ]
        return [path for folder in folders for path in sorted(folder.glob(f"{file_key}-*"))]

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.settings.home))


def _state(file: LandingFile) -> tuple[int, int]:
    status = file.container.stat()
    return status.st_size, status.st_mtime_ns


def _date_of(path: Path) -> date | None:
    name = path.parent.name
    return date.fromisoformat(name.removeprefix("event_date=")) if name.startswith("event_date=") else None
