"""What the console tells of a run: each step, and each check that failed with its reason."""

import dagster as dg

from dagster_project.defs.instance.progress import progress, without_trace


@dg.asset
def table(context: dg.AssetExecutionContext):
    context.log.info("12 rows")


@dg.asset_check(asset=table)
def is_full():
    return dg.AssetCheckResult(passed=False, description="It is empty.")


@dg.asset_check(asset=table)
def is_fresh():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="It is old.")


def test_steps_messages_and_failed_checks_are_shown_as_they_happen(capfd):
    definitions = dg.Definitions(
        assets=[table],
        asset_checks=[is_full, is_fresh],
        jobs=[dg.define_asset_job("job")],
        loggers={"console": progress},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_job_def("job").execute_in_process(
            instance=instance, run_config={"loggers": {"console": {}}}
        )
    lines = [line.partition(" s  ")[2] for line in capfd.readouterr().err.splitlines()]
    assert lines[:2] == ["▸ table", "12 rows"]
    assert lines[2].startswith("✓ table  (")
    assert "✗ check table: is_full  It is empty." in lines
    assert "! check table: is_fresh  It is old." in lines


def test_a_stack_trace_of_dbt_is_told_by_what_it_ends_with():
    told = """The dbt CLI process failed with exit code `2`.

Errors parsed from dbt logs:

Encountered an error:
Traceback (most recent call last):
  File "dbt/compilation.py", line 172, in write_graph
    pickle.dump(out_graph, outfh)
OSError: [Errno 28] No space left on device
"""
    assert without_trace(told).endswith("Encountered an error:\nOSError: [Errno 28] No space left on device")
    assert without_trace("Binder Error: no such column") == "Binder Error: no such column"
