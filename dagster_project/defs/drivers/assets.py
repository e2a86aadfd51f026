"""What changes with first-year retention: the driver analysis of every source, on the marts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.analyses.drivers import MARTS, SEEDS, TABLES, analyse_sources
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.defs.analytics import analytics_spec, asset_key
from dagster_project.defs.making import making
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.report.driver_figures import FIGURES, draw_figure
from dagster_project.store.frames import to_arrow
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


@dg.multi_asset(
    specs=[analytics_spec(table, [*MARTS.values(), *SEEDS.values()]) for table in TABLES.values()],
    pool=WRITER_POOL,
)
def drivers(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """The effects with their intervals, and what stands beside them; the rows are streamed, never held together."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        settings.temp_dir.mkdir(parents=True, exist_ok=True)
        results = analyse_sources(store, settings.temp_dir, context.log.info, settings.minimum_group_size)
        figures = _draw(store, results["effects"])
        for name, table in TABLES.items():
            count = store.write(table, to_arrow(results[name], CONTRACTS[table]), CONTRACTS[table])
            metadata = {"dagster/row_count": count} | (figures if name == "effects" else {})
            key = asset_key(table)
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=data_versions[key])


def _draw(store: Warehouse, effects: "pd.DataFrame") -> dict[str, dg.MetadataValue]:
    """The report's figures from our results, for the asset's page in Dagster."""
    catalogue = store.read(SEEDS["catalogue"])
    overall = effects[effects["program_key"].isna() & (effects["status"] == "estimated")]
    metadata = {}
    for source, rows in overall.groupby("source"):
        shown = catalogue.merge(rows.drop(columns="position"), on="driver_id")
        for number in FIGURES:
            image = draw_figure(shown[shown["figure"] == number], number)
            if image is not None:
                metadata[f"{source}, figure {number}"] = dg.MetadataValue.md(f"![]({image})")
    return metadata
