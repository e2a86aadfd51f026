"""Abilities by item response theory, benchmarks of organizations, gains of courses: one table each."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.analyses.skills import gaps, practice
from dagster_project.analyses.skills.analysis import READS, TABLES, analyse_skills
from dagster_project.analyses.skills.gaps import GAPS, find_gaps
from dagster_project.analyses.tables import write_frames
from dagster_project.defs.analytics import analytics_spec, asset_key
from dagster_project.defs.making import making
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.store.warehouse import Warehouse


@dg.multi_asset(specs=[analytics_spec(table, READS) for table in TABLES], pool=WRITER_POOL)
def skills(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """Everything about a skill from one look at its answers; skills side by side."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        frames = analyse_skills(store, settings, context.log.info)
        for table in TABLES:
            count = write_frames(store, table, frames[table])
            key = asset_key(table)
            metadata = {"dagster/row_count": count}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=data_versions[key])


@dg.multi_asset(
    specs=[analytics_spec(GAPS, gaps.READS)],
    pool=WRITER_POOL,
)
def skill_gaps(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Courses for organizations below the middle of all, from what the tables of the skills say."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        count = write_frames(store, GAPS, find_gaps(store))
    metadata = {"dagster/row_count": count}
    return dg.MaterializeResult(metadata=metadata, data_version=data_versions[asset_key(GAPS)])


@dg.multi_asset(specs=[analytics_spec(table, practice.READS) for table in practice.TABLES], pool=WRITER_POOL)
def skill_next_steps(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """Questions to practise and courses to take next for each learner, from what the tables of the skills say."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        frames = practice.find_next_steps(store, context.log.info)
        for table in practice.TABLES:
            count = write_frames(store, table, frames[table])
            key = asset_key(table)
            metadata = {"dagster/row_count": count}
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=data_versions[key])
