"""Assets of the tables that Python computes: how they are named and described."""

from collections.abc import Iterable, Sequence

import dagster as dg

from dagster_project.contracts.tables import read_contracts
from dagster_project.defs.resources import OWNERS
from dagster_project.settings import Settings
from dagster_project.store.findings import is_refused
from dagster_project.store.publish import snapshot_time
from dagster_project.store.warehouse import Warehouse

CONTRACTS = read_contracts()


def asset_key(table: str) -> dg.AssetKey:
    """Key of "schema.table"."""
    return dg.AssetKey(table.split("."))


def analytics_spec(table: str, deps: Iterable[str]) -> dg.AssetSpec:
    """The asset of a table of schema analytics, described by its contract.

    Args:
        table: "analytics.…".
        deps: "schema.table" of what it is computed from.
    """
    return dg.AssetSpec(
        asset_key(table),
        deps=[asset_key(name) for name in deps],
        description=CONTRACTS[table].description,
        group_name="analytics",
        kinds={"python", "duckdb"},
        owners=OWNERS,
    )


def withdraw_refused(settings: Settings, tables: Sequence[str]) -> bool:
    """Whether a suite refused one of these tables when it was last checked, so that what is in them must be made anew.

    What was appended to them since the last publication is then set aside: nobody has seen it, and as long as it is
    there, the suite would stop every run.
    """
    refused = any(is_refused(settings, table) for table in tables)
    current = settings.published_dir / "current"
    published_at = snapshot_time(current.readlink().name) if current.is_symlink() else 0.0
    for table in tables if refused else ():
        if CONTRACTS[table].append_only:
            Warehouse(settings).set_aside(CONTRACTS[table], published_at)
    return refused
