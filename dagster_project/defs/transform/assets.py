"""The dbt models as assets."""

import os
from collections.abc import Iterator
from datetime import date

import dagster as dg
from dagster_dbt import DagsterDbtCliRuntimeError, DbtCliResource, dbt_assets

from dagster_project.defs.automation import RANGE_END_TAG, RANGE_START_TAG
from dagster_project.defs.contracts import CONTRACTS
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource, dbt_manifest, dbt_project
from dagster_project.defs.transform.arguments import build_arguments, rebuild_window
from dagster_project.defs.transform.translator import DAILY_EVENTS, LayerTranslator
from dagster_project.ingest.loader import ensure_empty_files
from dagster_project.store.publish import PUBLIC_SCHEMAS
from dagster_project.store.warehouse import Warehouse

MANIFEST = dbt_manifest()
DAILY_EVENTS_KEY = dg.AssetKey(["intermediate", DAILY_EVENTS])
PUBLIC_MODELS = [
    dg.AssetKey([node["schema"], node["name"]])
    for node in MANIFEST["nodes"].values()
    if node["resource_type"] == "model" and node["schema"] in PUBLIC_SCHEMAS
]


@dbt_assets(
    manifest=MANIFEST,
    project=dbt_project,
    name="models",
    dagster_dbt_translator=LayerTranslator(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource) -> Iterator:
    """Staging to reporting in one `dbt build`, models and their tests.

    The days that the run was asked for, and every day that the loader marked, are deleted from the daily summary of
    events and summarized again from raw. Yields dbt's results with column lineage and row counts.
    """
    with warehouse.writing(context) as settings:
        for contract in CONTRACTS.values():
            ensure_empty_files(contract, settings)
        os.environ.update(settings.environment_of_dbt())
        days = _days_of_run(context)
        marks = {source: warehouse.ledger.marked_dates(source.contract, source.name) for source in warehouse.sources()}
        rebuild = {source.name: rebuild_window(*days, marked.dates) for source, marked in marks.items()}
        outputs, failure = [], None
        try:
            for event in dbt.cli(build_arguments(rebuild), context=context).stream().fetch_column_metadata():
                if isinstance(event, dg.Output):
                    outputs.append(event)
                else:
                    yield event
        except DagsterDbtCliRuntimeError as error:
            failure = error
        # dagster-dbt's own row counts wait for the file that dbt holds; so outputs are held back until dbt is done.
        yield from _with_row_counts(context, outputs, Warehouse(settings))
        if failure:
            raise failure
        if DAILY_EVENTS_KEY in context.selected_asset_keys:
            for marked in marks.values():
                warehouse.ledger.clear(marked)


def _days_of_run(context: dg.AssetExecutionContext) -> tuple[date | None, date | None]:
    """Event days that the run was asked for; a run of assets without partitions has none."""
    tags = context.run.tags
    single = tags.get("dagster/partition")
    bounds = tags.get(RANGE_START_TAG, single), tags.get(RANGE_END_TAG, single)
    return tuple(date.fromisoformat(day) if day else None for day in bounds)


def _with_row_counts(context, outputs: list[dg.Output], warehouse: Warehouse) -> Iterator[dg.Output]:
    for output in outputs:
        schema, name = context.asset_key_for_output(output.output_name).path
        counted = {} if schema == "staging" else {"dagster/row_count": warehouse.row_count(f"{schema}.{name}")}
        yield dg.Output(output.value, output_name=output.output_name, metadata={**output.metadata, **counted})
