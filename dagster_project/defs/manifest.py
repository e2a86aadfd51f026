"""The models, seeds and tests of dbt's manifest, and how they look in Dagster: keys, groups, owners, partitions."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from dagster_project.defs.partitions import DAILY_EVENTS, EVENT_MONTHS
from dagster_project.defs.resources import OWNERS, dbt_manifest


class LayerTranslator(DagsterDbtTranslator):
    """Keys are `[schema, table]` for models and sources alike, groups are the layers."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True, enable_source_tests_as_checks=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Schema and table: those of models, seeds and the raw tables that they read."""
        schema = dbt_resource_props.get("source_name") or dbt_resource_props["schema"]
        return dg.AssetKey([schema, dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The layer: its schema, and "raw" for all that is loaded."""
        return "raw" if dbt_resource_props["resource_type"] == "source" else dbt_resource_props["schema"]

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """Those of every asset."""
        return OWNERS

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition | None:
        """Months for the daily summary of events; none for what is built whole."""
        return EVENT_MONTHS if self.get_asset_key(dbt_resource_props).path == DAILY_EVENTS.split(".") else None


MANIFEST = dbt_manifest()
TRANSLATOR = LayerTranslator()
NODES = {
    f"{node['schema']}.{node['name']}": node
    for node in MANIFEST["nodes"].values()
    if node["resource_type"] in ("model", "seed")
}


def contract_of(node: Mapping[str, Any]) -> str | None:
    """The contract whose staging a model is part of; None: it is of no single one."""
    return node["fqn"][2] if node["fqn"][1] == "staging" else None


def is_published(name: str) -> bool:
    """Whether a model or seed, "schema.table", may be in a snapshot: `config.meta.published: false` keeps it out."""
    return NODES[name]["config"].get("meta", {}).get("published", True)


def parts_by() -> dict[str, str]:
    """The column by which the Parquet export of a table, "schema.table", is in parts: `config.meta.parts_by`."""
    tables = NODES | {f"{x['schema']}.{x['name']}": x for x in MANIFEST["sources"].values()}
    return {
        name: x["config"]["meta"]["parts_by"] for name, x in tables.items() if "parts_by" in x["config"].get("meta", {})
    }


def tables_of_keys() -> dict[str, str]:
    """The table of each entity (core.dim_…, core.fct_…, marts.mart_…) by its key, which dbt tests as unique there."""
    found = {}
    for test in MANIFEST["nodes"].values():
        if test["resource_type"] == "test" and test.get("test_metadata", {}).get("name") == "unique":
            column, table = test["test_metadata"]["kwargs"]["column_name"], MANIFEST["nodes"].get(test["attached_node"])
            entity = column.removesuffix("_key")
            if table and entity != column and table["name"] in (f"dim_{entity}", f"fct_{entity}", f"mart_{entity}"):
                name = f"{table['schema']}.{table['name']}"
                found[column] = min(found.get(column, name), name)  # core before marts
    return found
