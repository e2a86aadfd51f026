"""What has been loaded, what was refused, and which event dates changed: one SQLite file, `raw/ledger.sqlite`.

Every method is one transaction on a connection of its own, so a kill leaves the state before or after it.

A load is written into a folder of its own first. `begin` then records in one transaction which files will move where
and which event dates change; after the moves `finish` records the result. What `interrupted` still lists was killed in
between and is completed by doing the same moves again. Dates are marked before anything moves: a date may be marked for
nothing, but never changed without a mark.
"""

import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from dagster_project.base import clock
from dagster_project.base.errors import WarehouseError
from dagster_project.settings import Settings

SCHEMA = """
create table if not exists files (
    contract text, table_name text, source text, file text, file_key text, status text,
    content_hash text, stored_hash text, contract_hash text,
    records integer, accepted integer, refused integer, reason text, warnings text, first_date text, last_date text,
    primary key (contract, table_name, source, file, status)
);
create table if not exists changed_dates (
    mark integer primary key autoincrement, contract text, table_name text, source text, event_date text
);
create index if not exists changed_dates_of_source on changed_dates (contract, source);
create table if not exists operations (load_id text primary key, operation text);
create table if not exists loads (
    contract text, table_name text, source text, loaded_at text, primary key (contract, table_name, source)
);
create table if not exists expired_rows (
    contract text, table_name text, source text, file text, rows integer,
    primary key (contract, table_name, source, file)
);
create table if not exists expiring (
    contract text, table_name text, source text, primary key (contract, table_name, source)
);
create table if not exists simulated (content_hash text primary key);
"""


class LedgerError(WarehouseError, OSError):
    """The ledger cannot be read or written: another process holds it for too long, or the disk fails."""


@dataclass(frozen=True)
class FileRecord:
    """One landing file of a table and source, as it was last met.

    `loaded`: its accepted rows are in raw. `superseded`: a newer snapshot took its place. `refused`: this content could
    not be read as a whole, for `reason`; rows of an earlier content of that name have a record `loaded` beside it.
    """

    contract: str
    table: str
    source: str
    file: str
    file_key: str
    status: Literal["loaded", "superseded", "refused"]
    stored_hash: str
    contract_hash: str
    content_hash: str | None = None
    records: int = 0
    accepted: int = 0
    refused: int = 0
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    first_date: date | None = None
    last_date: date | None = None


@dataclass(frozen=True)
class Operation:
    """A finished load on its way into place. Paths are relative to the warehouse folder.

    Attributes:
        record: what the ledger will say of the file.
        moves: (from, to), in order.
        removals: files that are gone afterwards.
        dates: event dates whose rows change.
        supersedes: whether every other loaded file of the table and source is superseded.
        expired: rows of the file that were too old to be kept, and are in no count of the record.
    """

    load_id: str
    record: FileRecord
    moves: tuple[tuple[str, str], ...] = ()
    removals: tuple[str, ...] = ()
    dates: tuple[date, ...] = ()
    supersedes: bool = False
    expired: int = 0


@dataclass(frozen=True)
class MarkedDates:
    """Event dates of a source that changed since they were last cleared; later marks than `upto` are not among them."""

    contract: str
    source: str
    dates: tuple[date, ...]
    upto: int


@dataclass(frozen=True)
class Counts:
    """Records of the files that make up a table of a source; accepted + refused = records."""

    records: int = 0
    accepted: int = 0
    refused: int = 0
    files: int = 0


@dataclass(frozen=True)
class Ledger:
    """The ledger of one warehouse; made on first use."""

    settings: Settings
    # --- files

    def files(self, contract: str, table: str | None = None, source: str | None = None) -> list[FileRecord]:
        """Records of the contract's files, of one table and one source if given, by table, source and file."""
        query = f"select {', '.join(_COLUMNS.values())} from files where contract = ?"
        values = [contract]
        for column, value in (("table_name", table), ("source", source)):
            if value is not None:
                query += f" and {column} = ?"
                values.append(value)
        with self._transaction() as connection:
            rows = connection.execute(query + " order by table_name, source, file, status", values).fetchall()
        return [_record(row) for row in rows]

    def table_counts(self, contract: str, table: str, source: str) -> Counts:
        """Records, accepted and refused rows of all that is loaded into a table of a source."""
        loaded = [record for record in self.files(contract, table, source) if record.status == "loaded"]
        return Counts(
            sum(record.records for record in loaded),
            sum(record.accepted for record in loaded),
            sum(record.refused for record in loaded),
            len(loaded),
        )

    def newest_event_date(self, contract: str, source: str) -> date | None:
        """The newest event date that is loaded of a source."""
        newest = [record.last_date for record in self.files(contract, source=source) if record.status == "loaded"]
        return max((day for day in newest if day), default=None)

    def last_loads(self, contract: str, tables: Iterable[str]) -> dict[str, datetime]:
        """By source, when a file was last loaded into one of these tables, UTC without zone.

        What is unchanged is not loaded again, so that this stays the time of the delivery, however often it is built.
        """
        names = list(tables)
        with self._transaction() as connection:
            rows = connection.execute(
                "select source, max(loaded_at) from loads "
                f"where contract = ? and table_name in ({', '.join('?' * len(names))}) group by source",
                (contract, *names),
            ).fetchall()
        return {source: datetime.fromisoformat(at) for source, at in rows}

    def note(self, record: FileRecord) -> None:
        """Records a file that changes nothing in raw: refused, superseded before it was loaded, or wrapped anew."""
        with self._transaction() as connection:
            _write_record(connection, record)

    def recount(
        self, contract: str, table: str, source: str, accepted: Mapping[str, int], refused: Mapping[str, int]
    ) -> None:
        """Takes the rows that are left of the loaded files, by file key, for their counts; files not named have none.

        Rows that an erasure removed count as if they had never been delivered.
        """
        with self._transaction() as connection:
            loaded = connection.execute(
                "select file, file_key from files "
                "where contract = ? and table_name = ? and source = ? and status = 'loaded'",
                (contract, table, source),
            ).fetchall()
            for file, key in loaded:
                left = accepted.get(key, 0), refused.get(key, 0)
                connection.execute(
                    "update files set accepted = ?, refused = ?, records = ? "
                    "where contract = ? and table_name = ? and source = ? and file = ? and status = 'loaded'",
                    (*left, sum(left), contract, table, source, file),
                )

    # --- simulated files

    def note_simulated(self, content_hashes: Iterable[str]) -> None:
        """Remembers files that are made up, by their content (`ingest.simulated`)."""
        with self._transaction() as connection:
            connection.executemany("insert or ignore into simulated values (?)", [(x,) for x in content_hashes])

    def is_simulated(self, contract: str, source: str) -> bool:
        """Whether rows of a source come from a simulated file. One without rows may equal that of a real source."""
        with self._transaction() as connection:
            query = (
                "select count(*) from files inner join simulated on files.content_hash = simulated.content_hash "
                "where contract = ? and source = ? and status = 'loaded' and records > 0"
            )
            return connection.execute(query, (contract, source)).fetchone()[0] > 0

    # --- rows past their retention

    def expired_rows(self, contract: str, table: str, source: str) -> dict[str, int]:
        """By landing file, the rows of its content that are no longer kept (`ingest.retention`)."""
        with self._transaction() as connection:
            return dict(
                connection.execute(
                    "select file, rows from expired_rows where contract = ? and table_name = ? and source = ?",
                    (contract, table, source),
                ).fetchall()
            )

    def is_expiring(self, contract: str, table: str, source: str) -> bool:
        """Whether a `begin_expiry` was not finished."""
        with self._transaction() as connection:
            query = "select count(*) from expiring where contract = ? and table_name = ? and source = ?"
            return connection.execute(query, (contract, table, source)).fetchone()[0] > 0

    def begin_expiry(self, contract: str, table: str, source: str, dates: Iterable[date]) -> None:
        """Marks event dates that are about to be removed, and that their rows must be counted out."""
        with self._transaction() as connection:
            connection.execute("insert or ignore into expiring values (?, ?, ?)", (contract, table, source))
            connection.executemany(
                "insert into changed_dates (contract, table_name, source, event_date) values (?, ?, ?, ?)",
                [(contract, table, source, day.isoformat()) for day in dates],
            )

    def finish_expiry(
        self,
        contract: str,
        table: str,
        source: str,
        accepted: Mapping[str, int],
        refused: Mapping[str, int],
        oldest: Mapping[str, date],
    ) -> int:
        """Takes the rows that are left of the loaded files, and their oldest dates, by file key; returns how many went.

        Files not named have none.
        """
        key = (contract, table, source)
        gone = 0
        with self._transaction() as connection:
            loaded = connection.execute(
                "select file, file_key, records from files "
                "where contract = ? and table_name = ? and source = ? and status = 'loaded'",
                key,
            ).fetchall()
            for file, file_key, records in loaded:
                left = accepted.get(file_key, 0), refused.get(file_key, 0)
                if records == sum(left):
                    continue
                gone += records - sum(left)
                day = oldest.get(file_key)
                connection.execute(
                    "update files set accepted = ?, refused = ?, records = ?, first_date = coalesce(?, first_date) "
                    "where contract = ? and table_name = ? and source = ? and file = ? and status = 'loaded'",
                    (*left, sum(left), day and day.isoformat(), *key, file),
                )
                connection.execute(
                    "insert into expired_rows values (?, ?, ?, ?, ?) "
                    "on conflict do update set rows = rows + excluded.rows",
                    (*key, file, records - sum(left)),
                )
            connection.execute("delete from expiring where contract = ? and table_name = ? and source = ?", key)
        return gone

    # --- changed dates

    def mark(self, contract: str, table: str, source: str, dates: Iterable[date]) -> None:
        """Marks event dates whose rows are about to change."""
        with self._transaction() as connection:
            connection.executemany(
                "insert into changed_dates (contract, table_name, source, event_date) values (?, ?, ?, ?)",
                [(contract, table, source, day.isoformat()) for day in dates],
            )

    def marked_dates(self, contract: str, source: str) -> MarkedDates:
        """The event dates whose rows changed, to be computed again; see `clear`."""
        with self._transaction() as connection:
            rows = connection.execute(
                "select event_date, max(mark) from changed_dates where contract = ? and source = ? group by event_date",
                (contract, source),
            ).fetchall()
        dates = tuple(sorted(date.fromisoformat(day) for day, _ in rows))
        return MarkedDates(contract, source, dates, max((mark for _, mark in rows), default=0))

    def clear(self, marked: MarkedDates) -> None:
        """Removes these marks after the dates were computed; marks made since then stay."""
        with self._transaction() as connection:
            connection.executemany(
                "delete from changed_dates where contract = ? and source = ? and event_date = ? and mark <= ?",
                [(marked.contract, marked.source, day.isoformat(), marked.upto) for day in marked.dates],
            )

    # --- operations

    def begin(self, operation: Operation) -> None:
        """Records what is about to move and when it came, and marks the dates that change."""
        record = operation.record
        with self._transaction() as connection:
            connection.execute("insert into operations values (?, ?)", (operation.load_id, _as_json(operation)))
            connection.execute(
                "insert or replace into loads values (?, ?, ?, ?)",
                (record.contract, record.table, record.source, clock.now_as_stored().isoformat()),
            )
            connection.executemany(
                "insert into changed_dates (contract, table_name, source, event_date) values (?, ?, ?, ?)",
                [(record.contract, record.table, record.source, day.isoformat()) for day in operation.dates],
            )

    def finish(self, operation: Operation) -> None:
        """Records the file after its moves."""
        record = operation.record
        with self._transaction() as connection:
            if operation.supersedes:
                connection.execute(
                    "update or replace files set status = 'superseded' where contract = ? and table_name = ? "
                    "and source = ? and status = 'loaded'",
                    (record.contract, record.table, record.source),
                )
            _write_record(connection, record)
            key = (record.contract, record.table, record.source, record.file)
            connection.execute(
                "delete from expired_rows where contract = ? and table_name = ? and source = ? and file = ?", key
            )
            if operation.expired:
                connection.execute("insert into expired_rows values (?, ?, ?, ?, ?)", (*key, operation.expired))
            connection.execute("delete from operations where load_id = ?", (operation.load_id,))

    def interrupted(self) -> list[Operation]:
        """Operations that were begun and not finished."""
        with self._transaction() as connection:
            return [_from_json(text) for (text,) in connection.execute("select operation from operations")]

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        path = self.settings.raw_dir / "ledger.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            try:
                connection.executescript(SCHEMA)
                connection.execute("begin immediate")
                yield connection
                connection.execute("commit")
            finally:
                connection.close()  # rolls back what was not committed
        except sqlite3.OperationalError as error:
            raise LedgerError(
                f"{path}: {error}. See that no other program keeps the file open, that it and its folder can be "
                "written, and that the disk has room"
            ) from error


_COLUMNS = {name: "table_name" if name == "table" else name for name in FileRecord.__dataclass_fields__}


def _write_record(connection: sqlite3.Connection, record: FileRecord) -> None:
    if record.status != "refused":  # a refusal stands beside what was loaded before; all else replaces everything
        connection.execute(
            "delete from files where contract = ? and table_name = ? and source = ? and file = ?",
            (record.contract, record.table, record.source, record.file),
        )
    values = asdict(record) | {
        "warnings": json.dumps(record.warnings),
        "first_date": record.first_date and record.first_date.isoformat(),
        "last_date": record.last_date and record.last_date.isoformat(),
    }
    connection.execute(
        f"insert or replace into files ({', '.join(_COLUMNS.values())}) values ({', '.join('?' * len(_COLUMNS))})",
        [values[name] for name in _COLUMNS],
    )


def _record(row: tuple) -> FileRecord:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    values["warnings"] = tuple(json.loads(values["warnings"] or "[]"))
    for key in ("first_date", "last_date"):
        values[key] = values[key] and date.fromisoformat(values[key])
    return FileRecord(**values)


def _as_json(operation: Operation) -> str:
    return json.dumps(asdict(operation), default=lambda day: day.isoformat())


def _from_json(text: str) -> Operation:
    values = json.loads(text)
    record = values.pop("record")
    days = {key: record[key] and date.fromisoformat(record[key]) for key in ("first_date", "last_date")}
    return Operation(
        load_id=values["load_id"],
        record=FileRecord(**record | days | {"warnings": tuple(record["warnings"])}),
        moves=tuple((source, target) for source, target in values["moves"]),
        removals=tuple(values["removals"]),
        dates=tuple(date.fromisoformat(day) for day in values["dates"]),
        supersedes=values["supersedes"],
        expired=values.get("expired", 0),  # not in what an earlier version left
    )
