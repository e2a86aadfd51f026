"""Assets of the tables that Python computes: how they are named and described."""

from collections.abc import Iterable

import dagster as dg

from dagster_project.analyses.tables import CONTRACTS
from dagster_project.defs.resources import OWNERS


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
