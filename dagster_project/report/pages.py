"""The pages that go with every snapshot.

A page is a module of `dagster_project/report` with two names: `READS`, the tables that it shows ("schema.table"), and
`make_page(warehouse)`, which returns one self-contained HTML document. Nothing else has to be told of a new page. A
module of several pages has `write_pages(warehouse, about, settings)` instead, which writes them where they belong.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from dagster_project import report
from dagster_project.base.files import replaced
from dagster_project.report.page import About
from dagster_project.settings import Settings
from dagster_project.store.warehouse import Warehouse


def find_pages() -> list[ModuleType]:
    """Modules of the package `report` that are pages, by name."""
    modules = [import_module(f"{report.__name__}.{module.name}") for module in iter_modules(report.__path__)]
    return [module for module in modules if hasattr(module, "READS")]


def page_name(page: ModuleType) -> str:
    """The last part of the module's name, which the page's file bears."""
    return page.__name__.rpartition(".")[2]


def write_page(page: ModuleType, settings: Settings, about: About) -> Path:
    """Make a page anew; returns its file, of several the one that leads to them."""
    if hasattr(page, "write_pages"):
        return page.write_pages(Warehouse(settings), about, settings)
    html = page.make_page(Warehouse(settings), about)
    file = settings.pages_dir / f"{page_name(page)}.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as incoming:
        incoming.write_text(html)
    return file
