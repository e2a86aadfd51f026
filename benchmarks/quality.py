"""Memory and time of the expectations on large tables, at their size and at 16 times their rows.

    LEARNING_WAREHOUSE_HOME=warehouse python -m benchmarks.quality [--table marts.mart_learner_course_week …]

Without `--table`: the raw events, all days of them as a first load looks at them, and the largest mart. The rows are
repeated as they are, each as often as the factor says, so that every count grows by it: of a mart in a copy of the
table, of raw in the query, since its files only become larger. Each size is measured in a process of its own: peak
resident memory, of which the engine may take the setting `memory_limit`, and seconds, the import of Great Expectations
apart.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb

from dagster_project.analyses.quality.suite import EXPECTATIONS, read_suite
from dagster_project.analyses.quality.validation import Relation, validate
from dagster_project.base.engine import attach, open_engine
from dagster_project.base.sql import literal, qualified
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.settings import Settings

FACTORS = (1, 16)
TABLES = ("raw_campus.events", "marts.mart_learner_course_week")


def make_copy(database: Path, table: str, factor: int, file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"attach {literal(database)} as original (read_only)")
        connection.execute(f"create schema {table.split('.')[0]}")
        connection.execute(
            f"create table {table} as select t.* from {qualified(table, 'original')} as t, range({factor})"
        )


@contextmanager
def repeated(table: str, factor: int, database: Path) -> Iterator[tuple[Relation, duckdb.DuckDBPyConnection]]:
    """The rows of a table, each `factor` times, and a connection that reads them."""
    schema, name = table.split(".")
    if schema.startswith("raw_"):
        contract = CONTRACTS[schema.removeprefix("raw_")]
        types = {column.name: column.data_type.upper() for column in contract.table(name).raw_columns}
        pattern = literal(Settings().raw_dir / contract.name / name / "**" / "*.parquet")
        files = f"read_parquet({pattern}, hive_partitioning = true, union_by_name = true)"
        with open_engine(Settings()) as connection:
            yield Relation(f"(select t.* from {files} as t, range({factor})) as raw_rows", types, ()), connection
        return
    with tempfile.TemporaryDirectory(dir=Settings().home) as folder:
        file = Path(folder) / "copy.duckdb"
        # In a process of its own: its memory is not the validation's.
        copying = multiprocessing.get_context("spawn").Process(target=make_copy, args=(database, table, factor, file))
        copying.start()
        copying.join()
        with open_engine(Settings()) as connection:
            attach(connection, file, "copy")
            sql = qualified(table, "copy")
            types = {name: kind for name, kind, *_ in connection.execute(f"describe {sql}").fetchall()}
            yield Relation(sql, types, ()), connection


def measure(table: str, factor: int, database: Path) -> dict:
    """Peak bytes, seconds, rows and unexpected values of one validation, in this process."""
    import great_expectations  # noqa: F401 - so that its import is not measured

    suite = read_suite(EXPECTATIONS / f"{table}.json")
    with repeated(table, factor, database) as (relation, connection):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        outcomes = validate(suite, relation, connection)
        seconds = time.monotonic() - started
    return {
        "rows": max(outcome.rows for outcome in outcomes.values()),
        "checks": len(outcomes),
        "failed": sum(not outcome.success for outcome in outcomes.values()),
        "seconds": round(seconds, 1),
        "mib_before": round(before / 1024),
        "mib_at_most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, default=Settings().build_database)
    parser.add_argument("--table", nargs="+", default=TABLES)
    arguments = parser.parse_args()
    print(f"memory_limit {Settings().memory_limit}, threads {Settings().threads}")
    print(
        f"{'table':<32}{'factor':>7}{'rows':>14}{'checks':>8}{'failed':>8}{'seconds':>9}{'MiB before':>12}{'most':>7}"
    )
    for table in arguments.table:
        for factor in FACTORS:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                found = process.submit(measure, table, factor, arguments.database).result()
            print(
                f"{table:<32}{factor:>7}{found['rows']:>14,}{found['checks']:>8}{found['failed']:>8}"
                f"{found['seconds']:>9}{found['mib_before']:>12,}{found['mib_at_most']:>7,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
