"""What suites found when they last checked a table: `ops.findings`, one row per table × expectation.

Each table's rows are a file of their own under the artifacts, which a new validation replaces, so that a refusal
outlives the deletion of the build database (`Warehouse.append`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dagster_project.contracts.tables import OPS_CONTRACTS, TableContract, read_contracts
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse

TABLE = "ops.findings"
WORDS_OF_ROWS = ("examples", "query", "error")
"""Columns that may name a learner."""


def contract() -> TableContract:
    """The contract of the table, read from the folder of the models."""
    return read_contracts(OPS_CONTRACTS)[TABLE]


def record(settings: Settings, found: Mapping[str, Sequence[Mapping]]) -> None:
    """Replace what is known of tables ("schema.table") by what their suites found just now. Needs the write lock.

    Args:
        found: rows by table, as the contract of `ops.findings` describes them.
    """
    import pandas as pd

    from dagster_project.store.frames import to_arrow

    described = contract()
    rows = {table: to_arrow(pd.DataFrame(of_table), described) for table, of_table in found.items()}
    if rows:
        Warehouse(settings).append_all(TABLE, rows, described)


def read(settings: Settings) -> list[dict]:
    """All rows, by table and in the order of its suite; none before anything was checked."""
    warehouse = Warehouse(settings)
    if not warehouse.types(TABLE):
        return []
    query = f"select * from {TABLE} order by table_name, position"
    return [row for batch in warehouse.batches(query) for row in batch.to_pylist()]


def is_refused(settings: Settings, table_name: str) -> bool:
    """Whether a critical expectation of a table ("schema.table") did not hold when it was last checked."""
    return any(row["table_name"] == table_name and state_of(row) == "critical" for row in read(settings))


def keep_only(settings: Settings, tables: Collection[str]) -> None:
    """Forget what was found of tables that no suite is about any more. Needs the write lock."""
    gone = {row["table_name"] for row in read(settings)} - set(tables)
    if gone:
        Warehouse(settings).withdraw(contract(), gone)


def forget_rows(settings: Settings, unloaded_at: datetime) -> list[str]:
    """Empty the words of rows in all that was found and may name a learner whom raw lost at a time (UTC without zone).

    What was found in raw after that time cannot. That a rule did not hold stays known, so that what a suite refused
    stays refused; the pages of these tables go, and the next run makes them anew. Needs the write lock.

    Returns:
        The tables.
    """
    warehouse, described = Warehouse(settings), contract()
    if not warehouse.appended(described):
        return []
    warehouse.restore([described])  # of a build database that was deleted, the files are left
    older: dict[str, list[dict]] = {}
    for row in read(settings):
        if row["validated_at"] <= unloaded_at or not row["table_name"].startswith("raw_"):
            older.setdefault(row["table_name"], []).append({**row, **dict.fromkeys(WORDS_OF_ROWS)})
    record(settings, older)
    for table in older:
        page_of(settings, table).unlink(missing_ok=True)
    return sorted(older)


def page_of(settings: Settings, table_name: str) -> Path:
    """The page of Data Docs that tells what was found of a table."""
    return settings.data_docs_dir / f"{table_name}.html"


def state_of(row: Mapping) -> str:
    """passed, warning or critical."""
    return "passed" if row["is_met"] else row["severity"]


def count(rows: Iterable[Mapping], state: str) -> int:
    """Rows of a state."""
    return sum(state_of(row) == state for row in rows)
