"""Months of events, the daily summary, the tags of a run, and the event days that it rebuilds."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import dagster as dg

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest.ledger import Ledger
from dagster_project.ingest.sources import Source
from dagster_project.settings import Settings

LOOK_AHEAD = timedelta(days=31)
# The tags by which Dagster runs a range of partitions at once; `learning_warehouse/…` are ours.
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
SOURCE_TAG = "learning_warehouse/source"
LANDING_TAG = "learning_warehouse/landing"
ERASURES_TAG = "learning_warehouse/erasures"
DUE_TAG = "learning_warehouse/due"
# Dagster's own: how often it starts a run again that was killed, that it will, and which run it then was.
MAX_RETRIES_TAG = "dagster/max_retries"
# The event days that a run rebuilds besides those that the ledger marks; where they are not said, its months.
FIRST_DAY_TAG = "learning_warehouse/first_day"
LAST_DAY_TAG = "learning_warehouse/last_day"
_first_days = [table.time_range.first for contract in CONTRACTS.values() for table in contract.tables]
# Raw and the ledger are kept by day. Dagster is told of months: an event costs it 17 ms of CPU, and one a day and table
# two minutes for the first load of ten years.
MONTH = "%Y-%m"
EVENT_MONTHS = dg.MonthlyPartitionsDefinition(
    start_date=min((day for day in _first_days if day), default=date(2013, 1, 1)).strftime(MONTH),
    fmt=MONTH,
    end_offset=1,
)
# The one model that is kept by event day; what follows from it finds the changed days by comparing.
DAILY_EVENTS = "intermediate.int_events_summarized"


def event_days(source: Source, settings: Settings, today: date) -> tuple[date, date]:
    """First and last event day that a run of this source asks for.

    A first load asks for the whole time that the contract permits, a later one for the 31 days from the newest event
    on. Their months show in the UI; rebuilt are these days and every date that the ledger marks, wherever it lies.
    """
    ranges = [table.time_range for table in CONTRACTS[source.contract].tables if table.is_event]
    first = min((r.first for r in ranges if r.first), default=EVENT_MONTHS.start.date())
    last = min(max((r.last for r in ranges if r.last), default=today), today)
    newest = Ledger(settings).newest_event_date(source.contract, source.name)
    if newest is None:
        return min(first, last), last
    return min(newest, last), min(newest + LOOK_AHEAD, last)


def run_request_arguments(source: Source, settings: Settings, today: date) -> dict:
    """`run_config` and `tags` of a run that brings one source up to date."""
    first, last = event_days(source, settings, today)
    return {
        "run_config": {"resources": {"warehouse": {"config": {"source": source.name}}}},
        "tags": {
            RANGE_START_TAG: first.strftime(MONTH),
            RANGE_END_TAG: last.strftime(MONTH),
            FIRST_DAY_TAG: first.isoformat(),
            LAST_DAY_TAG: last.isoformat(),
            SOURCE_TAG: source.name,
        },
    }


def days_of_run(tags: Mapping[str, str]) -> tuple[date | None, date | None]:
    """First and last event day that a run rebuilds, from its tags; a run of assets without partitions has none."""
    if FIRST_DAY_TAG in tags:
        return date.fromisoformat(tags[FIRST_DAY_TAG]), date.fromisoformat(tags[LAST_DAY_TAG])
    single = tags.get("dagster/partition")
    first, last = tags.get(RANGE_START_TAG, single), tags.get(RANGE_END_TAG, single)
    if not (first and last):
        return None, None
    end = EVENT_MONTHS.time_window_for_partition_key(last).end.date()
    return EVENT_MONTHS.time_window_for_partition_key(first).start.date(), end - timedelta(days=1)


def rebuild_window(first: date | None, last: date | None, changed: Iterable[date]) -> dict:
    """Event dates that one source must rebuild: a range, and the changed dates outside it."""
    if first is None or last is None:
        return {"from": None, "to": None, "dates": sorted(day.isoformat() for day in changed)}
    outside = sorted(day.isoformat() for day in changed if not first <= day <= last)
    return {"from": first.isoformat(), "to": last.isoformat(), "dates": outside}
