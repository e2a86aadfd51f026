"""Memory and time of the expectations on one table, at its size and at 16 times its rows.

    python -m benchmarks.quality --database warehouse/build.duckdb [--table marts.mart_learner_course_week]

The rows are repeated as they are, each as often as the factor says, so that every count grows by it. Each size is
measured in a process of its own: peak resident memory, of which the engine may take the setting `memory_limit`, and
seconds, the import of Great Expectations apart.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from dagster_project.settings import Settings
from dagster_project.store.database import attach, literal, open_engine, qualified

FACTORS = (1, 16)


def make_copy(database: Path, table: str, factor: int, file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"attach {literal(str(database))} as original (read_only)")
        connection.execute(f"create schema {table.split('.')[0]}")
        connection.execute(
            f"create table {table} as select t.* from {qualified(table, 'original')} as t, range({factor})"
        )


def measure(file: Path, table: str) -> dict:
    """Peak bytes, seconds, rows and unexpected values of one validation, in this process."""
    import great_expectations  # noqa: F401 - so that its import is not measured

    from dagster_project.defs.quality.suite import EXPECTATIONS, read_suite
    from dagster_project.defs.quality.validation import Relation, validate

    suite = read_suite(EXPECTATIONS / f"{table}.json")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with open_engine(Settings()) as connection:
        attach(connection, file, "copy")
        sql = qualified(table, "copy")
        types = {name: kind for name, kind, *_ in connection.execute(f"describe {sql}").fetchall()}
        outcomes = validate(suite, Relation(sql, types, ()), connection)
    return {
        "rows": max(outcome.rows for outcome in outcomes.values()),
        "checks": len(outcomes),
        "failed": sum(not outcome.success for outcome in outcomes.values()),
        "seconds": round(time.monotonic() - started, 1),
        "mib_before": round(before / 1024),
        "mib_at_most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, default=Settings().build_database)
    parser.add_argument("--table", default="marts.mart_learner_course_week")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.table)))
        return
    print(f"{arguments.table}, memory_limit {Settings().memory_limit}, threads {Settings().threads}")
    print(f"{'factor':>6}{'rows':>14}{'checks':>8}{'failed':>8}{'seconds':>9}{'MiB before':>12}{'MiB at most':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for factor in FACTORS:
            file = Path(folder) / f"{factor}.duckdb"
            make_copy(arguments.database, arguments.table, factor, file)
            command = [sys.executable, "-m", "benchmarks.quality", "--measure", file, "--table", arguments.table]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            file.unlink()
            print(
                f"{factor:>6}{found['rows']:>14,}{found['checks']:>8}{found['failed']:>8}{found['seconds']:>9}"
                f"{found['mib_before']:>12,}{found['mib_at_most']:>13,}"
            )


if __name__ == "__main__":
    main()
