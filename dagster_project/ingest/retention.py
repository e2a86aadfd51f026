"""How long raw keeps the rows of a table: whole event days beyond the period of the settings go, and stay away.

`raw_retention_days` names event tables ("events", or "campus.events" of one contract) and the days that are kept, today
not counted. What is older is removed before each load, and left out of what is loaded, so that a landing file that is
delivered again does not bring it back. The refused rows of a landing file go with the last day of its accepted ones: a
refused row may not say when it happened. The days are marked as changed: all that is computed from them follows.

The ledger then counts these rows neither as records nor as accepted or refused, as after an erasure; how many they were
it tells by file (`Ledger.expired_rows`).
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta

from dagster_project.base import clock
from dagster_project.base.engine import open_engine
from dagster_project.base.errors import WarehouseError
from dagster_project.base.sql import literal
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import audit, quarantine
from dagster_project.ingest.conversion import Converted
from dagster_project.ingest.ledger import Ledger
from dagster_project.settings import PREFIX, Settings

SETTING = f"{PREFIX}RAW_RETENTION_DAYS"


class RetentionError(WarehouseError, ValueError):
    """A period that cannot be kept; the message says of which table, why, and which tables can have one."""


def check_periods(contracts: Iterable[Contract], settings: Settings) -> None:
    """Refuse periods of tables that do not exist or whose rows have no age.

    Raises:
        RetentionError: with the tables that can have a period.
    """
    if not settings.raw_retention_days:
        return
    known = {f"{contract.name}.{table.name}": table for contract in contracts for table in contract.tables}
    possible = ", ".join(name for name, table in known.items() if table.is_event)
    for name in settings.raw_retention_days:
        tables = [table for full, table in known.items() if name in (full, table.name)]
        if not tables:
            raise RetentionError(f"{SETTING} names {name}, which no contract has. Tables that can have one: {possible}")
        if not any(table.is_event for table in tables):
            why = (
                "is delivered as a snapshot: what the source leaves out of the next one is gone with it"
                if tables[0].delivery == "snapshot"
                else "has no event date in its contract, so that nobody can tell how old its rows are"
            )
            raise RetentionError(f"{SETTING} names {name}, which {why}. Tables that can have one: {possible}")


def first_kept_day(contract: Contract, table: Table, settings: Settings) -> date | None:
    """The oldest event date that raw may hold today (UTC); None: all are kept."""
    periods = settings.raw_retention_days
    days = periods.get(f"{contract.name}.{table.name}", periods.get(table.name))
    return clock.today() - timedelta(days=days) if days and table.is_event else None


def next_expiry(contracts: Mapping[str, Contract], settings: Settings) -> datetime | None:
    """When rows of raw are next too old to be kept (UTC without zone); None: none will be, as the settings are."""
    times = []
    for contract in contracts.values() if settings.raw_retention_days else ():
        for table in contract.tables:
            first = first_kept_day(contract, table, settings)
            oldest = [x.first_date for x in Ledger(settings).files(contract.name, table.name) if x.first_date]
            if first and oldest:
                # A day is kept for as many whole days as there are between today and the first that is kept.
                times.append(datetime.combine(min(oldest), time.min) + (clock.today() - first) + timedelta(days=1))
    return min(times, default=None)


def expire(
    contract: Contract, table: Table, source: str, settings: Settings, say: Callable[[str], None]
) -> tuple[date, ...]:
    """Remove the days of a source that are too old from raw, and what was refused with them; returns these days.

    Call it with the loader to itself (`only_loader`). What a kill interrupts is completed by the next call.
    """
    first = first_kept_day(contract, table, settings)
    if first is None:
        return ()
    ledger = Ledger(settings)
    folder = settings.raw_dir / contract.name / table.name / f"source={source}"
    names = (path.name.removeprefix("event_date=") for path in folder.glob("event_date=*"))
    days = tuple(sorted(day for day in map(date.fromisoformat, names) if day < first))
    if not days and not ledger.is_expiring(contract.name, table.name, source):
        return ()
    ledger.begin_expiry(contract.name, table.name, source, days)
    for day in days:
        shutil.rmtree(folder / f"event_date={day}")
    for record in ledger.files(contract.name, table.name, source):
        if record.status == "loaded" and record.last_date and record.last_date < first:
            refused = quarantine.rows_folder(contract, table, source, settings) / f"{record.file_key}.parquet"
            refused.unlink(missing_ok=True)
    accepted: dict[str, int] = {}
    oldest: dict[str, date] = {}
    for file in audit.raw_files(contract, table, source, settings):
        accepted[file.file_key] = accepted.get(file.file_key, 0) + file.rows
        if file.day:
            oldest[file.file_key] = min(oldest.get(file.file_key, file.day), file.day)
    refused_rows = audit.refused_rows(contract, table, source, settings)
    count = ledger.finish_expiry(contract.name, table.name, source, accepted, refused_rows, oldest)
    say(f"{table.name} of {source}: {count:,} rows from before {first} were kept for as long as {SETTING} permits")
    return days


def without_expired(
    converted: Converted, contract: Contract, table: Table, settings: Settings
) -> tuple[Converted, int]:
    """A converted file without its days that are too old, and how many rows these had, refused ones included."""
    first = first_kept_day(contract, table, settings)
    old = [path for day, path in converted.rows.items() if first and day and day < first]
    if not old:
        return converted, 0
    with open_engine(settings) as connection:
        files = ", ".join(map(literal, old))
        query = f"select sum(num_rows)::bigint from parquet_file_metadata([{files}])"
        expired = connection.execute(query).fetchall()[0][0]
    rows = {day: path for day, path in converted.rows.items() if path not in old}
    left = replace(converted, rows=rows, accepted=converted.accepted - expired, records=converted.records - expired)
    if not rows:
        expired += left.refused
        left = replace(left, quarantine=None, refused=0, records=0)
    return left, expired
