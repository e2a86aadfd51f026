"""The pages that go with every snapshot, under published/reports: one asset a page.

A page is a module of `dagster_project/report` with two names: `READS`, the tables that it shows ("schema.table"), and
`make_page(warehouse, about)`, which returns one HTML document that needs no other file. Nothing else has to be told of
a new page.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import dagster as dg

from dagster_project import report
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.resources import OWNERS, WRITER_POOL, WarehouseResource
from dagster_project.ingest.source_state import source_states
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse


def find_pages() -> list[ModuleType]:
    """Modules of the package `report` that are pages, by name."""
    modules = [import_module(f"{report.__name__}.{module.name}") for module in iter_modules(report.__path__)]
    return [module for module in modules if hasattr(module, "make_page")]


def page_key(page: ModuleType) -> dg.AssetKey:
    return dg.AssetKey(["pages", page.__name__.rpartition(".")[2]])


def write_page(page: ModuleType, settings: Settings, about: About) -> Path:
    """Make a page anew; returns its file."""
    html = page.make_page(Warehouse(settings), about)
    file = settings.pages_dir / f"{page_key(page).path[-1]}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    incoming = file.with_suffix(".incoming")
    incoming.write_text(html)
    incoming.replace(file)
    return file


def page_asset(page: ModuleType) -> dg.AssetsDefinition:
    """The asset that writes a page; the publication copies it."""
    key = page_key(page)

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(table.split(".")) for table in page.READS],
        description=page.__doc__,
        group_name="pages",
        kinds={"html"},
        owners=OWNERS,
        pool=WRITER_POOL,
    )
    def write(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
        with warehouse.writing(context) as settings:
            file = write_page(page, settings, About.of(source_states(CONTRACTS, settings), settings))
        return dg.MaterializeResult(metadata={"page": dg.MetadataValue.path(str(file)), "bytes": file.stat().st_size})

    return write


@dg.definitions
def pages() -> dg.Definitions:
    return dg.Definitions(assets=[page_asset(page) for page in find_pages()])
