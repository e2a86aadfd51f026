"""A module of `report` with `READS` and `make_page` becomes a page of the snapshot."""

from types import ModuleType

import dagster as dg

from dagster_project.defs.pages.assets import page_asset
from dagster_project.defs.resources import WarehouseResource


def test_a_page_waits_for_its_tables_and_is_written_where_publication_takes_it(settings):
    page = ModuleType("dagster_project.report.drivers", "What keeps learners.")
    page.READS = ("reporting.driver_effects", "analytics.effects")
    page.make_page = lambda warehouse: f"<html>{type(warehouse).__name__}</html>"
    asset = page_asset(page)
    assert asset.key == dg.AssetKey(["pages", "drivers"])
    assert asset.asset_deps[asset.key] == {
        dg.AssetKey(["reporting", "driver_effects"]),
        dg.AssetKey(["analytics", "effects"]),
    }
    assert dg.materialize([asset], resources={"warehouse": WarehouseResource()}).success
    assert [path.name for path in settings.pages_dir.iterdir()] == ["drivers.html"]
    assert (settings.pages_dir / "drivers.html").read_text() == "<html>Warehouse</html>"
