"""The dbt models as assets: the daily summary of events by event day, everything else whole."""

import json
import os
from collections.abc import Iterator
from datetime import date

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from dagster_project.defs.automation import EVENT_DAYS, RANGE_END_TAG, RANGE_START_TAG
from dagster_project.defs.contracts import CONTRACTS
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource, dbt_manifest, dbt_project
from dagster_project.defs.transform.arguments import build_arguments, rebuild_window
from dagster_project.defs.transform.translator import LayerTranslator
from dagster_project.ingest.loader import ensure_empty_files
from dagster_project.store.publish import PUBLIC_SCHEMAS
from dagster_project.store.warehouse import Warehouse

# The one table that is kept by event day; what follows from it finds the changed days by comparing.
DAILY_EVENTS = "int_events_summarized"
MANIFEST = dbt_manifest()
PUBLIC_MODELS = [
    dg.AssetKey([node["schema"], node["name"]])
    for node in json.loads(MANIFEST.read_text())["nodes"].values()
    if node["resource_type"] == "model" and node["schema"] in PUBLIC_SCHEMAS
]


@dbt_assets(
    manifest=MANIFEST,
    project=dbt_project,
    name="models",
    exclude=DAILY_EVENTS,
    dagster_dbt_translator=LayerTranslator(),
    pool=WRITER_POOL,
)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource):
    """Staging, core, marts and reporting: one `dbt build`, models and their tests."""
    yield from _build(context, dbt, warehouse)


@dbt_assets(
    manifest=MANIFEST,
    project=dbt_project,
    name="daily_events",
    select=DAILY_EVENTS,
    dagster_dbt_translator=LayerTranslator(),
    partitions_def=EVENT_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WRITER_POOL,
)
def daily_events(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource):
    """The run's days, and every day that the loader marked, are deleted and summarized again from raw."""
    yield from _build(context, dbt, warehouse)


def _build(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: WarehouseResource) -> Iterator:
    """Run `dbt build` for the assets of this step; yields its results with column lineage and row counts."""
    with warehouse.writing(context) as settings:
        for contract in CONTRACTS.values():
            ensure_empty_files(contract, settings)
        os.environ.update(settings.environment_of_dbt())
        days = _days_of_run(context)
        marks = {source: warehouse.ledger.marked_dates(source.contract, source.name) for source in warehouse.sources()}
        rebuild = {source.name: rebuild_window(*days, marks[source].dates) for source in marks}
        outputs = []
        for event in dbt.cli(build_arguments(rebuild), context=context).stream().fetch_column_metadata():
            if isinstance(event, dg.Output):
                outputs.append(event)
            else:
                yield event
        if context.has_partition_key_range:
            for source in marks:
                warehouse.ledger.clear(marks[source])
        yield from _with_row_counts(context, outputs, Warehouse(settings))


def _days_of_run(context: dg.AssetExecutionContext) -> tuple[date | None, date | None]:
    """Event days that the run was asked for; a run of assets without partitions has none."""
    tags = context.run.tags
    single = tags.get("dagster/partition")
    bounds = tags.get(RANGE_START_TAG, single), tags.get(RANGE_END_TAG, single)
    return tuple(date.fromisoformat(day) if day else None for day in bounds)


def _with_row_counts(context, outputs: list[dg.Output], warehouse: Warehouse) -> Iterator[dg.Output]:
    """dagster-dbt's own row counts wait for the write lock that dbt holds, so they are taken after the build."""
    for output in outputs:
        schema, name = context.asset_key_for_output(output.output_name).path
        counted = {} if schema == "staging" else {"dagster/row_count": warehouse.row_count(f"{schema}.{name}")}
        yield dg.Output(output.value, output_name=output.output_name, metadata={**output.metadata, **counted})
