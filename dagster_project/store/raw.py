"""Raw Parquet as pandas frames of bounded size, for checks that cannot be said in SQL."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

from dagster_project.settings import Settings
from dagster_project.store.database import identifier, literal, open_engine

if TYPE_CHECKING:
    import pandas as pd

FRAME_ROWS = 1_000_000


def raw_frames(
    settings: Settings, contract: str, table: str, columns: Sequence[str], days: Sequence[date] | None = None
) -> Iterator["pd.DataFrame"]:
    """Rows of a raw table over all its sources, some columns, in frames of at least `FRAME_ROWS` but for the last.

    Args:
        days: only these event days, of a table that is partitioned by them; None: the whole table.
    """
    if days is not None and not days:
        return
    folder = settings.raw_dir / contract / table
    pattern = literal(str(folder / "**" / "*.parquet"))
    wanted = ", ".join(map(identifier, columns))
    where = "" if days is None else f" where event_date in ({', '.join(f'date {literal(str(d))}' for d in days)})"
    with open_engine(settings) as connection:
        reader = connection.sql(
            f"select {wanted} from read_parquet({pattern}, hive_partitioning = true, union_by_name = true){where}"
        ).to_arrow_reader(FRAME_ROWS)
        # A file's rows come as a batch of their own, and a raw event table has a file a day.
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            waiting.append(batch)
            if sum(batch.num_rows for batch in waiting) >= FRAME_ROWS:
                yield pa.Table.from_batches(waiting).to_pandas()
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting).to_pandas()
