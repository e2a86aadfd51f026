"""A module of `report` with `READS` and `make_page` becomes a page of the snapshot."""

from types import ModuleType

import dagster as dg
import duckdb

from dagster_project.defs.pages.assets import page_asset
from dagster_project.defs.resources import WarehouseResource
from dagster_project.report import skill_benchmarks


def written(settings, page) -> str:
    """The page that its asset writes."""
    asset = page_asset(page)
    assert dg.materialize([asset], resources={"warehouse": WarehouseResource()}).success
    return (settings.pages_dir / f"{asset.key.path[-1]}.html").read_text()


def build(settings, statements: str) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(statements)


def test_a_page_waits_for_its_tables_and_is_written_where_publication_takes_it(settings):
    page = ModuleType("dagster_project.report.drivers", "What keeps learners.")
    page.READS = ("reporting.driver_effects", "analytics.effects")
    page.make_page = lambda warehouse, about: f"<html>{type(warehouse).__name__}</html>"
    asset = page_asset(page)
    assert asset.key == dg.AssetKey(["pages", "drivers"])
    assert asset.asset_deps[asset.key] == {
        dg.AssetKey(["reporting", "driver_effects"]),
        dg.AssetKey(["analytics", "effects"]),
    }
    assert written(settings, page) == "<html>Warehouse</html>"
    assert [path.name for path in settings.pages_dir.iterdir()] == ["drivers.html"]


def test_the_skills_page_tells_the_group_size_that_is_set(settings, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "25")
    build(
        settings,
        "create schema reporting; create table reporting.organization_skills as "
        "select 'uni:A' as organization_key, false as is_shown, 'all' as comparison",
    )
    page = written(settings, skill_benchmarks)
    assert "25 members who answered" in page
    assert "ten members" not in page
