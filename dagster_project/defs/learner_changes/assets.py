"""What deliveries change about learners, kept from run to run."""

from datetime import date

import dagster as dg

from dagster_project.analyses.learner_changes import READS, TABLE, append_changes
from dagster_project.base import clock
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.analytics import analytics_spec, asset_key
from dagster_project.defs.making import making
from dagster_project.defs.manifest import MANIFEST, NODES
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.ingest.ledger import Ledger
from dagster_project.store.warehouse import Warehouse


def _raw_tables() -> dict[str, set[str]]:
    """The raw tables that dim_learner is made from, by contract."""
    found: dict[str, set[str]] = {name: set() for name in CONTRACTS}
    waiting = [NODES["core.dim_learner"]["unique_id"]]
    while waiting:
        node = waiting.pop()
        waiting += MANIFEST["parent_map"].get(node, ())
        if source := MANIFEST["sources"].get(node):
            for name, contract in CONTRACTS.items():
                if contract.schema == source["source_name"]:
                    found[name].add(source["name"])
    return found


def delivered_on(ledger: Ledger) -> dict[str, date]:
    """By source, the day (UTC) on which what dim_learner is made from was last loaded."""
    return {
        source: at.date()
        for contract, tables in _raw_tables().items()
        for source, at in ledger.last_loads(contract, sorted(tables)).items()
    }


@dg.multi_asset(
    # Between two tables of core, and so in their layer.
    specs=[analytics_spec(TABLE, READS).replace_attributes(group_name="core")],
    pool=WRITER_POOL,
)
def learner_changes(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Look what is new in dim_learner, before the next delivery takes its place."""
    with making(context, warehouse) as (settings, data_versions):
        store = Warehouse(settings)
        appended = append_changes(store, settings, delivered_on(Ledger(settings)), clock.today())
        count = store.row_count(TABLE)
    metadata = {"dagster/row_count": count, "appended": dg.MetadataValue.json(appended)}
    return dg.MaterializeResult(metadata=metadata, data_version=data_versions[asset_key(TABLE)])
