"""Making tables and pages: what is written is noted with what it was made from, so that a plan can pass it over."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from dagster_project.base import clock
from dagster_project.defs.resources import WarehouseResource
from dagster_project.defs.versions import graph_of, name_of, nodes_of_step
from dagster_project.settings import Settings
from dagster_project.store import versions
from dagster_project.store.plan import Built, version_now


@contextmanager
def making(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Generator[tuple[Settings, dict]]:
    """`WarehouseResource.writing` for a step that makes tables or pages in Python.

    Before it begins nothing is known of them, and after it has ended well what they were made from.

    Yields:
        The settings, and the data version of each asset of the step by its key.
    """
    with warehouse.writing(context) as settings:
        built = built_now(context, settings)
        versions.forget(settings, built)
        yield settings, {dg.AssetKey(name.split(".")): dg.DataVersion(x.version) for name, x in built.items()}
        versions.note(settings, built, warehouse.run_id)


def built_now(context: dg.AssetExecutionContext, settings: Settings) -> dict[str, Built]:
    """What the tables and pages of a step will be, made from what there is at this moment, by name."""
    nodes = nodes_of_step(graph_of(context), settings, context.selected_asset_keys)
    names = {name_of(key) for key in context.selected_asset_keys} & set(nodes)
    return version_now(nodes, versions.read(settings), names, clock.now_as_stored())
