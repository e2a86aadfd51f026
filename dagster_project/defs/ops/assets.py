"""How the pipeline does, as published tables: runs, steps, checks."""

from collections.abc import Iterator

import dagster as dg

from dagster_project.defs.analytics import asset_key
from dagster_project.defs.instance.history import CONTRACTS, record_forgotten_runs, record_run
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.defs.transform.assets import BUILT_LAST
from dagster_project.store.warehouse import Warehouse

KEYS = [asset_key(table) for table in CONTRACTS]


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            asset_key(table),
            # After all that is built, so that the run tells of it.
            deps=BUILT_LAST,
            description=contract.description,
            group_name="ops",
            kinds={"python"},
            owners=OWNERS,
        )
        for table, contract in CONTRACTS.items()
    ],
    pool=WRITER_POOL,
)
def pipeline_status(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """What is known of this run until here, and of runs that ended without telling."""
    with warehouse.writing(context) as settings:
        record_forgotten_runs(context.instance, settings, but_for=context.run_id)
        record_run(context.instance, context.run_id, settings)
        counts = Warehouse(settings).row_counts(list(CONTRACTS))
    for table, count in counts.items():
        yield dg.MaterializeResult(asset_key=asset_key(table), metadata={"dagster/row_count": count})
