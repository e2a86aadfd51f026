"""Raw Parquet as pandas frames of bounded size, for checks that cannot be said in SQL."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from dagster_project.settings import Settings
from dagster_project.store.database import identifier, literal, open_engine

if TYPE_CHECKING:
    import pandas as pd

FRAME_ROWS = 1_000_000


def raw_frames(
    settings: Settings, contract: str, table: str, columns: Sequence[str], days: Sequence[date] | None = None
) -> Iterator["pd.DataFrame"]:
    """Rows of a raw table over all its sources, some columns, at most about `FRAME_ROWS` a frame.

    Args:
        days: only these event days, of a table that is partitioned by them; None: the whole table.
    """
    folder = settings.raw_dir / contract / table
    pattern = literal(str(folder / "**" / "*.parquet"))
    wanted = ", ".join(map(identifier, columns))
    where = "" if days is None else f" where event_date in ({', '.join(f'date {literal(str(d))}' for d in days)})"
    with open_engine(settings) as connection:
        reader = connection.sql(
            f"select {wanted} from read_parquet({pattern}, hive_partitioning = true, union_by_name = true){where}"
        ).to_arrow_reader(FRAME_ROWS)
        for batch in reader:
            yield batch.to_pandas()
