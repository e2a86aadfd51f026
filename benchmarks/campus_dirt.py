"""Dirt that was planted in a simulated delivery beside what the warehouse found, kind by kind.

    python -m benchmarks.campus_dirt --truth warehouse/truth/campus.json

Reads the warehouse of the settings (LEARNING_WAREHOUSE_HOME), built from that delivery, and the truth file that the
simulation wrote beside it. Exit code 1 when a count differs. `dagster_project.simulate.dirt` tells what each kind is.
Rows out of order leave no trace that could be counted: that the marts equal the simulator's own tables is the proof.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from dagster_project.defs.contracts import CONTRACTS
from dagster_project.ingest.quarantine import rows_folder
from dagster_project.settings import Settings

REFUSED = {
    ("learners", "malformed"): "%",
    ("course_enrollments", "malformed"): "%",
    ("submissions", "malformed"): "%",
    ("events", "malformed"): "column learner_id: a value is required%",
    ("events", "clock_reset"): "event date %",
}
IN_WAREHOUSE = {
    ("events", "duplicate"): "select sum(duplicate_row_count) from core.fct_duplicate_rows "
    "where source = $source and table_name = 'events'",
    ("submissions", "duplicate"): "select sum(duplicate_row_count) from core.fct_duplicate_rows "
    "where source = $source and table_name = 'submissions'",
    ("submissions", "resubmission"): "select count(*) from core.fct_submission "
    "where source = $source and attempt_number > 1",
    ("course_enrollments", "unknown_reference"): "select sum(row_count) from core.fct_held_rows "
    "where source = $source and entity = 'course_enrollments'",
    ("events", "unknown_reference"): "select sum(row_count) from core.fct_held_rows "
    "where source = $source and entity = 'events'",
    ("submissions", "unknown_reference"): "select sum(row_count) from core.fct_held_rows "
    "where source = $source and entity = 'submissions'",
    ("support_tickets", "unknown_reference"): "select sum(row_count) from core.fct_held_rows "
    "where source = $source and entity = 'support_tickets'",
}
IN_RAW = {
    ("events", "late"): "select count(distinct event_id) from events where received_at - occurred_at >= interval 1 day",
    ("events", "clock_ahead"): "select count(distinct event_id) from events where received_at < occurred_at",
    ("course_enrollments", "reenrollment"): "select count(*) - count(distinct (learner_id, course_id, term_id)) "
    "from course_enrollments",
}


def found(settings: Settings, source: str = "campus") -> dict[tuple[str, str], int]:
    """Rows by table and kind that a warehouse found in the deliveries of a source on the contract `campus`."""
    return {key: count for part in (_refused, _in_warehouse, _in_raw) for key, count in part(settings, source)}


def planted(truth: Path) -> dict[tuple[str, str], int]:
    """Rows by table and kind that the simulation planted, those that leave a trace."""
    dirt = json.loads(truth.read_text())["dirt"]
    traceable = REFUSED.keys() | IN_WAREHOUSE.keys() | IN_RAW.keys()
    return {key: dirt.get(key[0], {}).get(key[1], 0) for key in sorted(traceable)}


def _refused(settings: Settings, source: str) -> Iterator[tuple[tuple[str, str], int]]:
    contract = CONTRACTS["campus"]
    tables = {table.name: table for table in contract.tables}
    for (table, kind), reason in REFUSED.items():
        files = sorted(map(str, rows_folder(contract, tables[table], source, settings).glob("*.parquet")))
        count = 0
        if files:
            query = "select count(*) from read_parquet($files) where reason like $reason"
            count = duckdb.execute(query, {"files": files, "reason": reason}).fetchone()[0]
        yield (table, kind), count


def _in_warehouse(settings: Settings, source: str) -> Iterator[tuple[tuple[str, str], int]]:
    with duckdb.connect(str(settings.build_database), read_only=True) as connection:
        for key, query in IN_WAREHOUSE.items():
            yield key, int(connection.execute(query, {"source": source}).fetchone()[0] or 0)


def _in_raw(settings: Settings, source: str) -> Iterator[tuple[tuple[str, str], int]]:
    for (table, kind), query in IN_RAW.items():
        files = str(settings.raw_dir / "campus" / table / f"source={source}" / "**" / "*.parquet")
        with duckdb.connect() as connection:
            connection.execute(f"create view {table} as from read_parquet('{files}')")
            yield (table, kind), connection.execute(query).fetchone()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True, help="truth file that the simulation wrote")
    parser.add_argument("--source", default="campus")
    arguments = parser.parse_args()
    expected, counted = planted(arguments.truth), found(Settings(), arguments.source)
    print(f"{'table':<20} {'kind':<20} {'planted':>10} {'found':>10}")
    for table, kind in sorted(expected):
        print(f"{table:<20} {kind:<20} {expected[table, kind]:>10,} {counted[table, kind]:>10,}")
    return 0 if expected == counted else 1


if __name__ == "__main__":
    sys.exit(main())
