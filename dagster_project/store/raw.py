"""Raw Parquet as something to query, for checks that are no part of a model."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import duckdb

from dagster_project.settings import Settings
from dagster_project.store.database import literal, open_engine


@contextmanager
def raw_relation(
    settings: Settings, contract: str, table: str, days: Collection[date] | None = None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection, and the SQL (after `from`) of a raw table over all its sources.

    Args:
        days: only these event days, of a table that is partitioned by them; None: the whole table.
    """
    pattern = literal(str(settings.raw_dir / contract / table / "**" / "*.parquet"))
    sql = f"read_parquet({pattern}, hive_partitioning = true, union_by_name = true)"
    if days is not None:
        # Literal dates, so that the engine opens the files of these days only; as ranges, since it compares each file
        # with each of them.
        wanted = " or ".join(
            f"event_date between date {literal(str(first))} and date {literal(str(last))}"
            for first, last in _spans(days)
        )
        sql = f"(from {sql} where {wanted or 'false'}) as rows_of_changed_days"
    with open_engine(settings) as connection:
        yield connection, sql


def _spans(days: Collection[date]) -> Iterator[tuple[date, date]]:
    """First and last day of each run of days without a gap."""
    first = last = None
    for day in sorted(days):
        if last is not None and day - last > timedelta(days=1):
            yield first, last
            first = None
        first, last = first or day, day
    if last is not None:
        yield first, last
