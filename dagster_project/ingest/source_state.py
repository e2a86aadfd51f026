"""What a reader must know of a source before they believe a figure: how far its data reach, and if they are too old."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property

from dagster_project.base import clock
from dagster_project.contracts.source import Contract, Table
from dagster_project.ingest import audit
from dagster_project.ingest.data_end import data_end
from dagster_project.ingest.landing import LandingFile, all_files
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.sources import Source, registered_sources
from dagster_project.settings import Settings


@dataclass(frozen=True)
class SourceState:
    """A source as it stands.

    Attributes:
        last_data_on: the last day of its data (`ingest.data_end`); None: there are no dated events.
        is_simulated: whether files of a simulation are loaded (`ingest.simulated`).
        why_stale: what is older than the contract permits, without a full stop; empty: nothing is.
    """

    name: str
    contract: str
    last_data_on: date | None
    is_simulated: bool
    why_stale: str


def source_states(
    contracts: Mapping[str, Contract], settings: Settings, now: datetime | None = None
) -> list[SourceState]:
    """The registered sources of which something is loaded, by name.

    Args:
        contracts: those in use, by name; a source of another one is left out.
        now: UTC without zone; the present when not given.
    """
    now = now or clock.now_as_stored()
    loaded = [
        source
        for source in registered_sources(settings)
        if source.contract in contracts
        and any(file.status == "loaded" for file in Ledger(settings).files(source.contract, source=source.name))
    ]
    return [_state(contracts[source.contract], source, settings, now) for source in loaded]


def _state(contract: Contract, source: Source, settings: Settings, now: datetime) -> SourceState:
    days = {
        table.name: data_end(contract, table, source.name, settings, now) for table in contract.tables if table.is_event
    }
    told = []
    landed = Landed(source)
    for table in contract.tables:
        if table.freshness is None:  # any age will do, so the landing place need not be looked through
            continue
        newest = newest_at(contract, table, landed, settings, days.get(table.name))
        # There is nothing to wait for where a source has never had an optional table.
        if reason := "" if newest is None and table.optional else why_stale(table, newest, now):
            told.append(f"{table.name}: {reason}")
    return SourceState(
        source.name,
        contract.name,
        max((day for day in days.values() if day), default=None),
        Ledger(settings).is_simulated(contract.name, source.name),
        "; ".join(told),
    )


class Landed:
    """A source and the files of its landing place, which are looked through once for all tables, if one asks."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @cached_property
    def files(self) -> list[LandingFile]:
        """All of them; none where the place is gone."""
        return list(all_files(self.source.landing)) if self.source.landing.exists() else []


def newest_at(
    contract: Contract, table: Table, landed: Landed, settings: Settings, last_data_on: date | None
) -> datetime | None:
    """Time of the newest event (of an event table) or delivery, UTC without zone; None: there was none."""
    if table.is_event:
        # An event of a day may have happened until its end.
        return None if last_data_on is None else datetime.combine(last_data_on, time.max)
    return audit.newest_delivery(contract, table, landed.source.name, landed.files, settings)


def age(newest: datetime | None, now: datetime) -> timedelta | None:
    """How old the newest event or delivery is, never below zero."""
    return None if newest is None else max(now - newest, timedelta(0))


def why_stale(table: Table, newest: datetime | None, now: datetime) -> str:
    """Why the newest event or delivery is older than the contract permits; empty where it is not, or any age is."""
    limits = (
        [limit for limit in (table.freshness.warn_after, table.freshness.error_after) if limit]
        if table.freshness
        else []
    )
    if not limits:
        return ""
    what, days = "event" if table.is_event else "delivery", age(newest, now)
    if days is None:
        return f"no {what} at all"
    if days <= min(limits):
        return ""
    return (
        f"the newest {what} is of {newest:%Y-%m-%d}, {days.days:,} days old; "
        f"{min(limits).total_seconds() / 86400:g} days are permitted"
    )


def next_stale(contracts: Mapping[str, Contract], settings: Settings, now: datetime) -> datetime | None:
    """When the next source gets older than its contract permits, if nothing arrives; None: none will."""
    times: list[datetime] = []
    for source in registered_sources(settings):
        if source.contract not in contracts:
            continue
        contract, landed = contracts[source.contract], Landed(source)
        for table in contract.tables:
            if table.freshness is None:
                continue
            day = data_end(contract, table, source.name, settings, now) if table.is_event else None
            newest = newest_at(contract, table, landed, settings, day)
            for limit in (table.freshness.warn_after, table.freshness.error_after):
                if newest and limit:  # `why_stale` asks for more than the limit
                    times.append(newest + limit + timedelta(seconds=1))
    return min((time for time in times if time > now), default=None)
