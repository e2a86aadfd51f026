"""The tables that Python writes: their contracts, and which of them a suite refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dagster_project.contracts.tables import TableContract, read_contracts
from dagster_project.settings import Settings
from dagster_project.store.findings import is_refused
from dagster_project.store.frames import to_arrow
from dagster_project.store.publish import snapshot_time
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


CONTRACTS = read_contracts()


def withdraw_refused(settings: Settings, tables: Sequence[str]) -> bool:
    """Whether a suite refused one of these tables when it was last checked, so that what is in them must be made anew.

    What was appended to them since the last publication is then set aside: nobody has seen it, and as long as it is
    there, the suite would stop every run.
    """
    refused = any(is_refused(settings, table) for table in tables)
    current = settings.published_dir / "current"
    published_at = snapshot_time(current.readlink().name) if current.is_symlink() else 0.0
    for table in tables if refused else ():
        if CONTRACTS[table].append_only:
            Warehouse(settings).set_aside(CONTRACTS[table], published_at)
    return refused


def as_contracted(contract: TableContract, frame: pd.DataFrame) -> pd.DataFrame:
    """Exactly the contract's columns, null where nothing is known."""
    return frame.reindex(columns=[column.name for column in contract.columns]).reset_index(drop=True)


def write_frames(store: Warehouse, table: str, frames: Sequence[pd.DataFrame]) -> int:
    """Replace a table by frames that have some of its columns, the others null; returns how many rows it has."""
    import pandas as pd
    import pyarrow as pa

    contract = CONTRACTS[table]
    rows = pa.concat_tables([to_arrow(frame, contract) for frame in frames or [pd.DataFrame()]])
    return store.write(table, rows, contract)
