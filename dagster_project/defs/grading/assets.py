"""Severity of graders, their agreement, and grades on one scale: one table each."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.analyses.grading import READS, TABLES, analyse_grading
from dagster_project.analyses.tables import write_frames
from dagster_project.defs.analytics import analytics_spec, asset_key
from dagster_project.defs.making import making
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.store.warehouse import Warehouse


@dg.multi_asset(specs=[analytics_spec(table, READS) for table in TABLES], pool=WRITER_POOL)
def grading(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """All marks of a source in one model; kept for a week."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        frames = analyse_grading(store, settings, context.log.info)
        for table in TABLES:
            count = write_frames(store, table, frames[table])
            key = asset_key(table)
            metadata = {"dagster/row_count": count}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=data_versions[key])
