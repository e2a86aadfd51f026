"""Polls a published snapshot as a BI tool would, until it is told to stop; prints what it saw as JSON."""

import argparse
import json
import signal
import time
from pathlib import Path

import duckdb

DATABASE = "learning_warehouse.duckdb"
PAUSE = 1.5


def look(published: Path, *, ids_grow: bool) -> tuple[str, list[str]]:
    """Snapshot id, and what was not of one piece: file, _meta, tables and Parquet of different publications."""
    mixed = []
    with duckdb.connect(str(published / DATABASE), read_only=True, config={"threads": 1}) as connection:
        connection.execute("set enable_progress_bar = false")
        ((snapshot_id,),) = connection.execute("select snapshot_id from _meta.publication").fetchall()
        told = connection.execute("select schema_name || '.' || table_name, row_count from _meta.tables").fetchall()
        for table, count in told:
            ((found,),) = connection.execute(f"select count(*) from {table}").fetchall()
            if found != count:
                mixed.append(f"{snapshot_id}: {table} has {found} rows, _meta.tables says {count}")
        folder = (published / "current").resolve()
        publication = folder / "parquet" / "_meta" / "publication.parquet"
        ((exported,),) = connection.execute(f"select snapshot_id from '{publication}'").fetchall()
        if exported != folder.name:
            mixed.append(f"{folder.name} holds the Parquet export of {exported}")
        if folder.name < snapshot_id and ids_grow:
            mixed.append(f"{folder.name} came after {snapshot_id}")
    return snapshot_id, mixed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path)
    parser.add_argument("--clock-moved", action="store_true", help="ids need not grow")
    arguments = parser.parse_args()
    # An exception from the handler would break off a query, which would look like an error.
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    seen: dict = {"polls": 0, "errors": [], "mixed": [], "snapshots": []}
    there = False
    while not stopped:
        there = there or (arguments.published / DATABASE).exists()
        if there:
            seen["polls"] += 1
            try:
                snapshot_id, mixed = look(arguments.published, ids_grow=not arguments.clock_moved)
                seen["mixed"] += mixed
                if snapshot_id not in seen["snapshots"]:
                    seen["snapshots"].append(snapshot_id)
            except (duckdb.Error, OSError) as error:
                seen["errors"].append(str(error))
        time.sleep(PAUSE)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
