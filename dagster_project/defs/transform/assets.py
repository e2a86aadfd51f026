"""The dbt models as assets."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from dagster_project.analyses.tables import CONTRACTS as ANALYTICS
from dagster_project.base import clock
from dagster_project.base.errors import DbtError
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.making import built_now
from dagster_project.defs.manifest import MANIFEST, NODES, TRANSLATOR, is_published
from dagster_project.defs.partitions import DAILY_EVENTS
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource, dbt_project
from dagster_project.defs.transform import dbt
from dagster_project.defs.transform.lineage import column_lineages, compiled_sql
from dagster_project.ingest.loader import ensure_empty_files
from dagster_project.ingest.sources import contracts_with_sources
from dagster_project.privacy.erasure.stages import unbuild
from dagster_project.store import findings, versions
from dagster_project.store.plan import Built
from dagster_project.store.publish import PUBLIC_SCHEMAS
from dagster_project.store.warehouse import Warehouse

DAILY_EVENTS_KEY = dg.AssetKey(DAILY_EVENTS.split("."))
PUBLIC_MODELS = [
    dg.AssetKey(name.split(".")) for name in NODES if name.split(".")[0] in PUBLIC_SCHEMAS and is_published(name)
]
EVERYTHING = "fqn:*"
LINEAGE = Path("lineage", "columns.json")
SCHEMAS_OF_REPORTING = ("reporting", "learners")
HISTORY = "core.dim_learner_history"
"""Stands in core and is built with reporting: what it reads is kept by Python."""
BUILT_LAST = [dg.AssetKey(x.split(".")) for x in NODES if x.split(".")[0] in SCHEMAS_OF_REPORTING or x == HISTORY]
REPORTING = " ".join([*(f"path:models/{x}" for x in SCHEMAS_OF_REPORTING), HISTORY.split(".")[1]])


def _dbt_build(
    name: str, *, select: str = EVERYTHING, exclude: str | None = None, later: Sequence[dg.AssetKey] = ()
) -> dg.AssetsDefinition:
    """One `dbt build` over some of the models, with their tests, as one step.

    The days that the run was asked for, and every day that the loader marked, are deleted from the daily summary of
    events and summarized again from raw. The step yields dbt's results with column lineage and row counts.

    Args:
        name: of the step.
        select: models to build, in dbt's words.
        exclude: models of these to leave out, in dbt's words.
        later: what is built after this step, so that no test of it can read it.
    """

    @dbt_assets(
        manifest=MANIFEST,
        project=dbt_project,
        name=name,
        dagster_dbt_translator=TRANSLATOR,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=WRITER_POOL,
        select=select,
        exclude=exclude,
    )
    def build(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator:
        with warehouse.writing(context) as settings:
            for contract in CONTRACTS.values():
                ensure_empty_files(contract, settings)
            unbuild(settings)
            Warehouse(settings).restore([*ANALYTICS.values(), findings.contract()])
            os.environ.update(settings.environment_of_dbt())
            target = warehouse.dbt_target
            built = built_now(context, settings)
            # Rows of other days that another SQL made would not go with those that it makes now.
            rebuild = None if _is_summarized_otherwise(built, versions.read(settings)) else warehouse.rebuild
            told = versions.as_variable(built, warehouse.run_id, clock.now_as_stored())
            outputs, failure = [], None
            try:
                arguments = build_arguments(contracts_with_sources(settings, CONTRACTS), rebuild, told)
                for event in dbt.build(arguments, _nodes(later), context, target):
                    if isinstance(event, dg.Output):
                        outputs.append(event)
                    else:
                        yield event
            except DbtError as error:
                failure = error
            compiled = target / "compiled" / MANIFEST["metadata"]["project_name"] / "models" / "marts"
            if compiled.exists():  # the search for leaks runs it again on the data of an earlier day
                shutil.copytree(compiled, settings.compiled_marts_dir, dirs_exist_ok=True)
            # dbt holds the file while it runs, so what is read from it waits until then.
            yield from _described(
                context, outputs, Warehouse(settings), target, built, settings.artifacts_dir / LINEAGE
            )
            if failure:
                raise failure
            if DAILY_EVENTS_KEY in context.selected_asset_keys:
                for marked in warehouse.marks:
                    warehouse.ledger.clear(marked)

    return build


# Two builds, because what Python computes stands between them: it reads marts, and reporting reads it.
models = _dbt_build("models", exclude=REPORTING, later=BUILT_LAST)
reporting = _dbt_build("reporting", select=REPORTING)


def _is_summarized_otherwise(made: Mapping[str, Built], before: Mapping[str, Built]) -> bool:
    """Whether models that keep the rows of earlier days are made by other code, or with other settings, than these."""
    kept = [x for x in made if x in NODES and NODES[x]["config"]["materialized"] == "incremental"]
    return any(name in before and before[name].code != made[name].code for name in kept)


def _nodes(later: Sequence[dg.AssetKey]) -> dbt.Nodes:
    keys = {dg.AssetKey(name.split(".")): x["unique_id"] for name, x in NODES.items()}
    return dbt.Nodes(MANIFEST, TRANSLATOR, {key: x for key, x in keys.items() if key not in later})


def _described(
    context: dg.AssetExecutionContext,
    outputs: list[dg.Output],
    warehouse: Warehouse,
    target_path: Path,
    built: Mapping[str, Built],
    lineage_file: Path,
) -> Iterator[dg.Output]:
    """The outputs with row counts, columns and the columns these come from."""
    if not outputs:  # dbt failed before it built anything: perhaps there is no database to look at
        return
    keys = {output.output_name: context.asset_key_for_output(output.output_name) for output in outputs}
    names = {output: ".".join(key.path) for output, key in keys.items()}
    columns = warehouse.columns()
    types = {table: {column: data_type for column, (data_type, _) in there.items()} for table, there in columns.items()}
    queries = {name: sql for name in names.values() if (sql := compiled_sql(target_path, NODES[name]))}
    lineages = column_lineages(queries, types, lineage_file)
    # To count a view is to make it.
    counts = warehouse.row_counts([x for x in names.values() if NODES[x]["config"]["materialized"] != "view"])
    for output in outputs:
        name = names[output.output_name]
        metadata: dict[str, Any] = dict(output.metadata)
        of_columns: dict[str, Any] = {}
        if name in columns:
            of_columns["dagster/column_schema"] = dg.TableSchema(
                columns=[dg.TableColumn(column, *described) for column, described in columns[name].items()]
            )
        if name in lineages:
            of_columns["dagster/column_lineage"] = lineages[name]
        if keys[output.output_name] == DAILY_EVENTS_KEY and context.has_partition_key_range:
            # Said of the month that the UI shows: of 160 months it would be ten megabytes of events.
            last = context.partition_key_range.end
            context.add_asset_metadata(of_columns, DAILY_EVENTS_KEY, last)
        else:
            metadata |= of_columns
        if name in counts:
            metadata["dagster/row_count"] = counts[name]
        metadata = {key: value for key, value in metadata.items() if value is not None}
        version = dg.DataVersion(built[name].version)
        yield dg.Output(output.value, output_name=output.output_name, metadata=metadata, data_version=version)


def build_arguments(
    contracts: Sequence[str], rebuild: Mapping[str, dict] | None, data_versions: Mapping | None = None
) -> list[str]:
    """Arguments of `dbt build` but for the selection.

    Args:
        contracts: those whose staging core unites.
        rebuild: for each source in the run, its `rebuild_window`. Sources that are not named keep their activity;
            None: every table is made anew, columns included.
        data_versions: what the models are made from, as `store.versions.as_variable` has it.

    Unit tests are left to `make test`: they prove logic, not data, and cost time on every run.
    """
    variables: dict[str, Any] = {"today": clock.today().isoformat(), "contracts": list(contracts)}
    variables |= {} if rebuild is None else {"rebuild": rebuild}
    variables |= {"data_versions": data_versions} if data_versions else {}
    arguments = ["--exclude-resource-type", "unit_test"]
    arguments += ["--full-refresh"] if rebuild is None else []
    return [*arguments, "--vars", json.dumps(variables, sort_keys=True)]
