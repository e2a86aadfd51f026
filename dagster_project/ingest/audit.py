"""What lies in landing, raw and quarantine now, counted in the files themselves and not taken from the ledger."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from dagster_project.base.engine import open_engine
from dagster_project.base.sql import literal
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import landing, quarantine
from dagster_project.ingest.ledger import FileRecord
from dagster_project.settings import Settings

DAY = "event_date="
"""What the folder of a day is called by, before its date."""


@dataclass(frozen=True)
class RawFile:
    """A Parquet file of raw: whose rows it holds, of which event date (of an event table), and how many."""

    file_key: str
    day: date | None
    rows: int


@dataclass(frozen=True)
class Imbalance:
    """A landing file whose records do not lie in raw and quarantine; `file` None: the ledger knows none."""

    file: str | None
    file_key: str
    records: int
    accepted: int
    raw: int
    quarantine: int

    @property
    def difference(self) -> int:
        """Rows that are missing, or too many; moved from raw to quarantine counts as well."""
        return abs(self.accepted - self.raw) + abs(self.records - self.accepted - self.quarantine)


def raw_files(contract: Contract, table: Table, source: str, settings: Settings) -> list[RawFile]:
    """The Parquet files of a table and source. Reads their footers only: a tenth of a second for a thousand days."""
    folder = settings.raw_dir / contract.name / table.name / f"source={source}"
    return [RawFile(path.stem, _day(path), rows) for path, rows in _rows(folder, "**/*.parquet", settings)]


def event_days(contract: Contract, table: Table, source: str, settings: Settings) -> set[date]:
    """Days of which an event table has rows of a source, from the names of its folders."""
    folder = settings.raw_dir / contract.name / table.name / f"source={source}"
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        days = [entry for entry in entries if entry.name.startswith(DAY)]
    return {date.fromisoformat(day.name.removeprefix(DAY)) for day in days if _has_parquet(day.path)}


def _has_parquet(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".parquet") for entry in entries)


@dataclass(frozen=True)
class RefusedReason:
    """Why rows of a table were refused, how many, and where the first of them stands; it holds no value of a row."""

    table: str
    reason: str
    rows: int
    file: str
    record: int

    def __str__(self) -> str:
        return f"{self.table}: {self.rows:,} × {self.reason}, such as record {self.record:,} of {self.file}"


def refused_reasons(contract: Contract, source: str, settings: Settings) -> list[RefusedReason]:
    """The reasons for which the rows in quarantine of a source were refused, most frequent first in every table."""
    found = []
    with open_engine(settings) as connection:
        for table in contract.tables:
            folder = quarantine.rows_folder(contract, table, source, settings)
            if not any(folder.glob("*.parquet")):
                continue
            # Reasons repeat what they found wrong: of the reasons that differ in that only, one is told.
            rows = connection.execute(
                f"""
                with plain as (
                    select
                        file, record,
                        regexp_replace(
                            regexp_replace(
                                reason, '(''.*?''|\\*\\*\\*) is not of type', 'a value is not of type', 'gs'
                            ),
                            '^event date \\S+ is outside', 'the event date is outside'
                        ) as reason
                    from read_parquet({literal(folder / "*.parquet")}, hive_partitioning = false)
                )

                select reason, count(*), min((file, record)) as example
                from plain
                group by reason
                order by count(*) desc, reason
                """
            ).fetchall()
            found += [RefusedReason(table.name, reason, count, *_pair(example)) for reason, count, example in rows]
    return found


def _pair(example) -> tuple[str, int]:
    return tuple(example.values()) if isinstance(example, dict) else tuple(example)


def refused_rows(contract: Contract, table: Table, source: str, settings: Settings) -> dict[str, int]:
    """Rows in quarantine of a table and source, by file key."""
    folder = quarantine.rows_folder(contract, table, source, settings)
    return {path.stem: rows for path, rows in _rows(folder, "*.parquet", settings)}


def imbalances(
    contract: Contract,
    table: Table,
    source: str,
    records: Iterable[FileRecord],
    raw: Iterable[RawFile],
    settings: Settings,
) -> list[Imbalance]:
    """Landing files for which records = rows in raw + rows in quarantine does not hold.

    The records of a landing file were counted in its bytes when it was loaded. A superseded snapshot has no rows
    anywhere; rows that an erasure or their age removed are not counted among the records.

    Args:
        records: what the ledger says of the table and source.
        raw: from `raw_files`.
    """
    found: dict[str, int] = defaultdict(int)
    for file in raw:
        found[file.file_key] += file.rows
    refused = refused_rows(contract, table, source, settings)
    loaded = {record.file_key: record for record in records if record.status == "loaded"}
    compared = [
        Imbalance(
            record.file if record else None,
            key,
            record.records if record else 0,
            record.accepted if record else 0,
            found.get(key, 0),
            refused.get(key, 0),
        )
        for key in sorted({*loaded, *found, *refused})
        for record in (loaded.get(key),)
    ]
    return [one for one in compared if one.difference]


def newest_delivery(
    contract: Contract, table: Table, source: str, files: Iterable[landing.LandingFile], settings: Settings
) -> datetime | None:
    """When the newest file of a table was put into its landing place; where none is left there, when it was loaded.

    Args:
        files: all of the landing place.

    Returns:
        UTC without zone; None: nothing was ever delivered.
    """
    paths = {file.container for file in landing.of_table(table, files)}
    if not paths:
        folder = settings.raw_dir / contract.name / table.name / f"source={source}"
        paths = set(folder.rglob("*.parquet"))
    newest = max((path.stat().st_mtime for path in paths), default=None)
    return None if newest is None else datetime.fromtimestamp(newest, UTC).replace(tzinfo=None)


def _rows(folder: Path, pattern: str, settings: Settings) -> list[tuple[Path, int]]:
    if not any(folder.glob(pattern)):
        return []
    with open_engine(settings) as connection:
        query = f"select file_name, num_rows from parquet_file_metadata({literal(folder / pattern)})"
        return [(Path(name), rows) for name, rows in connection.execute(query).fetchall()]


def _day(path: Path) -> date | None:
    name = path.parent.name
    return date.fromisoformat(name.removeprefix(DAY)) if name.startswith(DAY) else None
