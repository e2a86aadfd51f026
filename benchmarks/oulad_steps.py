"""What each process of `benchmarks/oulad.py` does; it prints its result as JSON, its cost is measured from outside.

    python -m benchmarks.oulad_steps load LANDING           # in the warehouse of LEARNING_WAREHOUSE_HOME

Where a step reports `cpu` itself, that is the CPU time of the work alone, without the start of Python and imports.
"""

import json
import resource
import sys
import tempfile
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dagster_project.settings import REPOSITORY, Settings

SOURCE = "oulad"
BY_HAND = Path(__file__).with_name("by_hand.sql")
TABLES = [
    "core.fct_daily_activity",
    "marts.mart_learner_course",
    "marts.mart_learner_course_week",
    "marts.mart_course_week",
    "marts.mart_learner_program",
    "marts.mart_course_term",
    "marts.mart_course",
    "marts.mart_program",
]
# Says which weeks the next run must build again. A script that always makes everything has no use for it.
NOT_COMPARED = {"inputs_hash"}


def by_hand(landing: str, database: str) -> dict:
    """The zip's members into a temporary folder, then `by_hand.sql` into a new database, within our own limits."""
    import duckdb

    settings = Settings()
    limits = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": f"{database}.tmp",
        "preserve_insertion_order": False,
    }
    with (
        tempfile.TemporaryDirectory(dir=Path(database).parent) as folder,
        duckdb.connect(database, config=limits) as engine,
    ):
        with zipfile.ZipFile(landing) as archive:
            archive.extractall(folder)
        courses = next(Path(folder).rglob("courses.csv"))
        engine.execute("set variable folder = ?", [str(courses.parent)])
        engine.execute(BY_HAND.read_text())
    return {}


def plan(landing: str) -> dict:
    """Register the landing place; the event days that a run would ask for now."""
    from dagster_project.defs.partitions import event_days
    from dagster_project.ingest.sources import Source, register_source

    settings, source = Settings(), Source(SOURCE, SOURCE, Path(landing))
    settings.home.mkdir(parents=True, exist_ok=True)
    register_source(settings, source, [SOURCE])
    return {"days": [day.isoformat() for day in event_days(source, settings, datetime.now(UTC).date())]}


def load(landing: str) -> dict:
    """Every table of the contract, as the raw assets load it, and the event dates that this changed."""
    from dagster_project.contracts import tables as analytics
    from dagster_project.contracts.source import read_contracts
    from dagster_project.ingest.ledger import Ledger
    from dagster_project.ingest.loader import ensure_empty_files, load_table
    from dagster_project.store.warehouse import Warehouse

    settings = Settings()
    contracts = read_contracts(REPOSITORY / "dbt/models")
    contract = contracts[SOURCE]
    for other in contracts.values():
        ensure_empty_files(other, settings)
    Warehouse(settings).restore(list(analytics.read_contracts().values()))
    started = time.process_time()
    loads = [load_table(contract, table.name, SOURCE, Path(landing), settings) for table in contract.tables]
    cpu = time.process_time() - started
    return {
        "cpu": cpu,
        "rows": sum(load.accepted for load in loads),
        "refused": sum(load.refused for load in loads),
        "changed": [day.isoformat() for day in Ledger(settings).marked_dates(SOURCE, SOURCE).dates],
    }


def clear_marks() -> dict:
    """The changed dates are built: what the run does when dbt has succeeded."""
    from dagster_project.ingest.ledger import Ledger

    ledger = Ledger(Settings())
    ledger.clear(ledger.marked_dates(SOURCE, SOURCE))
    return {}


def publish() -> dict:
    """The build database as a new snapshot."""
    from dagster_project.store import publish as publication

    settings = Settings()
    started = time.process_time()
    publication.publish(settings, publication.make_snapshot_id(), sources_info=[], versions={})
    return {"cpu": time.process_time() - started}


def imports() -> dict:
    """CPU of importing the definitions with their job, and of Great Expectations after that."""
    from dagster_project.definitions import defs
    from dagster_project.defs.automation import job_name

    defs.resolve_job_def(job_name(SOURCE))
    definitions = time.process_time()
    import great_expectations

    great_expectations.get_context(mode="ephemeral")
    return {"definitions": definitions, "great_expectations": time.process_time() - definitions}


def bookkeeping(days: str) -> dict:
    """One run of one asset that does nothing, over so many daily partitions."""
    import dagster as dg

    first = date(2013, 1, 1)
    partitions = dg.DailyPartitionsDefinition(start_date=first.isoformat())

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def nothing() -> None: ...

    job = dg.Definitions(
        assets=[nothing], jobs=[dg.define_asset_job("job", [nothing])], executor=dg.in_process_executor
    ).resolve_job_def("job")
    last = first + timedelta(days=int(days) - 1)
    tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        started = time.process_time()
        result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=True)
        cpu = time.process_time() - started
        made = len(instance.get_materialized_partitions(dg.AssetKey("nothing")))
    if not result.success or made != int(days):
        raise RuntimeError(f"{made} of {days} partitions were made")
    return {"cpu": cpu}


def partition_events() -> dict:
    """Partitions that the whole run has materialized, over all assets."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        return {"count": sum(len(instance.get_materialized_partitions(key)) for key in instance.all_asset_keys())}


def compare(by_hand: str, ours: str) -> dict:
    """Row by row, both ways: `differences` are sentences, none when all tables are equal."""
    import duckdb

    settings = Settings()
    limits = {"threads": settings.threads, "memory_limit": "2GB", "temp_directory": f"{by_hand}.tmp"}
    differences, rows = [], 0
    with duckdb.connect(config=limits) as engine:
        engine.execute(f"attach '{by_hand}' as by_hand (read_only)")
        engine.execute(f"attach '{ours}' as ours (read_only)")
        for table in TABLES:
            described = {
                side: dict(engine.execute(f"select column_name, column_type from (describe {side}.{table})").fetchall())
                for side in ("by_hand", "ours")
            }
            # A column that OULAD cannot fill is no work: a script for OULAD alone would not have it.
            absent = [name for name in described["ours"] if name not in described["by_hand"]]
            counts = ", ".join(f"count({name})" for name in absent) or "0"
            filled = engine.execute(f"select {counts} from ours.{table}").fetchone()
            for name in (name for name, count in zip(absent, filled, strict=False) if not count):
                del described["ours"][name]
            if other := set(described["by_hand"].items()) ^ set(described["ours"].items()):
                differences += [f"{table}: columns {sorted(other)}"] if {x[0] for x in other} - NOT_COMPARED else []
            shared = described["by_hand"].keys() & described["ours"].keys() - NOT_COMPARED
            columns = ", ".join(name for name in described["ours"] if name in shared)
            for side, other in (("by_hand", "ours"), ("ours", "by_hand")):
                ((count, example),) = engine.execute(
                    f"select count(*), any_value(x) from (select {columns} from {side}.{table} "
                    f"except all select {columns} from {other}.{table}) as x"
                ).fetchall()
                differences += [f"{table}: {count} rows only in {side}, such as {example}"] if count else []
            rows += engine.execute(f"select count(*) from ours.{table}").fetchone()[0]
    return {"differences": differences, "rows": rows}


def deliver_by_day(landing: str, folder: str, *days: str) -> dict:
    """A landing folder with the events before the first day, and beside it one folder per day and one for the rest."""
    import duckdb

    base = Path(folder, "base")
    with zipfile.ZipFile(landing) as archive:
        archive.extractall(base)
    events = next(base.rglob("studentVle.csv"))
    start = "make_date(code_presentation[:4]::integer, if(code_presentation[5] = 'B', 2, 10), 1)"
    bounds = [date.fromisoformat(day) for day in days]
    parts = {"base": f"event_on < date '{bounds[0]}'", "rest": f"event_on > date '{bounds[-1]}'"}
    parts |= {str(day): f"event_on = date '{day}'" for day in bounds}
    rows = {}
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GB"}) as engine:
        for name, condition in parts.items():
            target = Path(folder, f"studentVle-{name}.csv")
            (rows[name],) = engine.execute(
                f"copy (select * exclude (event_on) from (select *, {start} + date::integer as event_on "
                f"from read_csv('{events}', all_varchar = true, header = true)) where {condition}) "
                f"to '{target}' (header, force_quote *)"
            ).fetchone()
    events.unlink()
    Path(folder, "studentVle-base.csv").rename(events)
    return {"rows": rows}


STEPS = (by_hand, plan, load, clear_marks, publish, imports, bookkeeping, partition_events, compare, deliver_by_day)

if __name__ == "__main__":
    step = {function.__name__: function for function in STEPS}[sys.argv[1]]
    result = step(*sys.argv[2:])
    print(json.dumps(result | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
