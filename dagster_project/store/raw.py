"""Raw Parquet as something to query, for checks that are no part of a model."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import date

import duckdb

from dagster_project.base.engine import open_engine
from dagster_project.base.sql import literal
from dagster_project.settings import Settings


@contextmanager
def raw_relation(
    settings: Settings, contract: str, table: str, days: Collection[date] | None = None
) -> Generator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection, and the SQL (after `from`) of a raw table over all its sources.

    Args:
        days: only these event days, of a table that is partitioned by them; None: the whole table.
    """
    folder = settings.raw_dir / contract / table
    files, condition = [folder / "**" / "*.parquet"], ""
    if days is not None:
        # The files themselves: a condition on `event_date` is compared with every file of the table, day by day.
        wanted = {f"event_date={day}" for day in days}
        found = [path / "*.parquet" for path in sorted(folder.glob("*/event_date=*")) if path.name in wanted]
        files, condition = (found, "") if found else (files, " where false")
    patterns = ", ".join(map(literal, files))
    sql = f"(from read_parquet([{patterns}], hive_partitioning = true, union_by_name = true){condition}) as raw_rows"
    with open_engine(settings) as connection:
        yield connection, sql
