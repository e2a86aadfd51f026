"""The pages that go with every snapshot, under published/reports: one asset a page (`report/pages.py` finds them)."""

from types import ModuleType

import dagster as dg

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.making import making
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.ingest.source_state import source_states
from dagster_project.report.page import About
from dagster_project.report.pages import find_pages, page_name, write_page
from dagster_project.store import versions

HOW_FAR = "core.dim_source"
"""Every page tells how far the data reach: it is made after what says so, and again when that changes."""


def page_key(page: ModuleType) -> dg.AssetKey:
    """Key of the asset that writes a page."""
    return dg.AssetKey(["pages", page_name(page)])


def page_asset(page: ModuleType) -> dg.AssetsDefinition:
    """The asset that writes a page; the publication copies it."""
    key = page_key(page)

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(table.split(".")) for table in dict.fromkeys((*page.READS, HOW_FAR))],
        description=page.__doc__,
        group_name="pages",
        kinds={"html"},
        owners=OWNERS,
        pool=WRITER_POOL,
    )
    def write(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
        with making(context, warehouse) as (settings, data_versions):
            figures = [x for name, x in versions.read(settings).items() if name in page.READS and _is_computed(name)]
            computed_on = min((x.built_at.date() for x in figures), default=None)
            file = write_page(page, settings, About.of(source_states(CONTRACTS, settings), settings, computed_on))
        metadata = {"page": dg.MetadataValue.path(str(file)), "bytes": file.stat().st_size}
        return dg.MaterializeResult(metadata=metadata, data_version=data_versions.get(key))

    return write


def _is_computed(table: str) -> bool:
    """Whether a table may be kept for a while though more data have come."""
    return table.startswith("analytics.")


@dg.definitions
def pages() -> dg.Definitions:
    return dg.Definitions(assets=[page_asset(page) for page in find_pages()])
