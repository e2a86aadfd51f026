"""A module of `report` with `READS` and `make_page` becomes a page of the snapshot."""

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from html import unescape
from types import ModuleType

import dagster as dg
import duckdb

from dagster_project import simulate
from dagster_project.analyses.quality.suite import read_suites
from dagster_project.analyses.tables import CONTRACTS as ANALYTICS
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.instance.history import CONTRACTS as OPS
from dagster_project.defs.pages.assets import page_asset
from dagster_project.defs.publish.assets import learning_warehouse
from dagster_project.defs.quality.bridge import suite_checks
from dagster_project.defs.raw.assets import raw_asset
from dagster_project.defs.resources import WarehouseResource
from dagster_project.ingest.sources import Source, register_source
from dagster_project.report import at_risk_model, skill_benchmarks
from dagster_project.report.pages import find_pages
from dagster_project.store.warehouse import Warehouse

CAMPUS = CONTRACTS["campus"]


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
        dg.AssetKey(["core", "dim_source"]),  # every page tells how far the data reach
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


# --- what every page tells of its data

DELIVERED = ("learners", "program_enrollments", "course_enrollments", "events")  # the tables with a freshness


def deliver(landing, newest: date) -> None:
    """Files of a university whose last event was on a day; those with learners are a minute old."""
    landing.mkdir(parents=True, exist_ok=True)
    of_type = {"varchar": "x", "bigint": "1", "integer": "1", "double": "1", "boolean": "true", "date": str(newest)}
    for name in DELIVERED:
        columns = {
            column.name: f"{newest} 08:00:00" if column.data_type == "timestamp" else of_type[column.data_type]
            for column in CAMPUS.table(name).columns
        }
        (landing / f"{name}.csv").write_text(f"{','.join(columns)}\n{','.join(columns.values())}\n")


def load(settings, name: str, landing) -> None:
    """Register a source and load it, as a run does."""
    register_source(settings, Source(name, CAMPUS.name, landing), CONTRACTS)
    assets = [raw_asset(CAMPUS, CAMPUS.table(table)) for table in DELIVERED]
    resources = {"warehouse": WarehouseResource(source=name)}
    assert dg.materialize(assets, resources=resources, raise_on_error=False).get_asset_materialization_events()


def make_everything(settings) -> dict[str, str]:
    """All pages and Data Docs of a warehouse whose tables have no rows, published; the pages by name."""
    settings.home.mkdir(parents=True, exist_ok=True)
    Warehouse(settings).restore([*ANALYTICS.values(), *OPS.values()])
    build(
        settings,
        """
        create schema if not exists reporting; create schema if not exists core; create schema if not exists marts;
        create schema if not exists learners;
        create or replace table learners.call_list
            (source varchar, learner_key varchar, program_key varchar, scored_on date);
        create or replace table learners.call_list_changes (source varchar, scored_on date);
        create or replace table reporting.organization_skills (organization_key varchar, is_shown boolean);
        create or replace table reporting.driver_effects
            (source varchar, driver_id varchar, program_key varchar, position integer, status varchar, reason varchar);
        create or replace table reporting.degree_learner_ages
            (source varchar, program_level varchar, age_band varchar, learner_share double);
        create or replace table reporting.terms_active
            (source varchar, is_retained boolean, active_term_count integer, learner_share double);
        create or replace table reporting.program_retention (source varchar, level varchar, program_key varchar,
            program_name varchar, first_year_number integer, retained_share_told varchar,
            retained_without_graduates_share_told varchar, withheld_because varchar);
        create or replace table core.dim_learner as select 'x' as source, 'x:1' as learner_key, '1' as learner_id;
        create or replace table marts.mart_learner_course as select source, learner_key from core.dim_learner;
        """,
    )
    suites = [suite for suite in read_suites() if (suite.schema, suite.table) == ("raw_campus", "learners")]
    learners = dg.multi_asset(specs=[dg.AssetSpec(["raw_campus", "learners"])], name="learners", can_subset=True)(
        lambda: dg.MaterializeResult(asset_key=["raw_campus", "learners"])
    )
    steps = [
        [learners, suite_checks("suites", suites)],
        [page_asset(page) for page in find_pages()],
        [learning_warehouse],
    ]
    for step in steps:
        dg.materialize(step, resources={"warehouse": WarehouseResource()}, raise_on_error=step == steps[-1])
    files = [*settings.published_dir.glob("reports/*.html"), *settings.data_docs_dir.glob("*.html")]
    files += settings.published_dir.glob("call_lists/*.html")
    return {f"{file.parent.name}/{file.stem}": file.read_text() for file in files}


def text_of(page: str) -> str:
    """Words of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))).split())


def in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def test_every_page_tells_how_far_the_data_reach_the_snapshot_and_the_source(settings, tmp_path):
    day = datetime.now(UTC).date() - timedelta(days=2)
    deliver(tmp_path / "uni", day)
    load(settings, "uni", tmp_path / "uni")
    pages = make_everything(settings)
    assert len(pages) == 8, sorted(pages)
    snapshot = (settings.published_dir / "current").readlink().name
    told = f"Data up to {in_words(day)} · snapshot {snapshot} · source uni"
    assert {name for name, page in pages.items() if told not in text_of(page)} == set()
    # Fresh, and nobody's invention.
    assert [name for name, page in pages.items() if "SIMULATED" in page or "older than permitted" in page] == []


def test_a_page_outside_of_any_snapshot_names_none(settings, tmp_path):
    deliver(tmp_path / "uni", date(2024, 3, 1))
    load(settings, "uni", tmp_path / "uni")
    make_everything(settings)
    assert "Data up to 1 March 2024 · not published yet · source uni" in text_of(written(settings, skill_benchmarks))


def test_every_page_warns_of_data_that_are_older_than_the_contract_permits(settings, tmp_path):
    day = datetime.now(UTC).date() - timedelta(days=100)
    deliver(tmp_path / "uni", day)
    load(settings, "uni", tmp_path / "uni")
    pages = make_everything(settings)
    told = f"events: the newest event is of {day}, 99 days old; 7 days are permitted"
    assert {name for name, page in pages.items() if told not in text_of(page)} == set()
    assert "SIMULATED" not in "".join(pages.values())


def test_a_simulated_university_says_so_on_every_page_under_whatever_name_it_is_loaded(settings, tmp_path):
    landing = tmp_path / "anything"
    simulate.write(landing, tmp_path / "truth.json", 1, 30)
    load(settings, "uni", landing)
    shutil.rmtree(landing)
    pages = make_everything(settings)
    assert {name for name, page in pages.items() if "SIMULATED" not in text_of(page)} == set()


def test_a_real_delivery_in_the_place_of_a_simulated_one_is_not_taken_for_it(settings, tmp_path):
    landing = tmp_path / "campus"
    simulate.write(landing, tmp_path / "truth.json", 1, 30)
    shutil.rmtree(landing / "events")
    deliver(landing, date(2024, 3, 1))
    load(settings, "campus", landing)
    pages = make_everything(settings)
    assert "SIMULATED" not in "".join(pages.values())


def test_a_list_of_whom_to_call_from_stale_data_says_so(settings, tmp_path):
    day = datetime.now(UTC).date() - timedelta(days=100)
    deliver(tmp_path / "uni", day)
    load(settings, "uni", tmp_path / "uni")
    make_everything(settings)
    build(
        settings,
        f"""
        insert into analytics.at_risk_models by name select 'uni' as source, 'not_retained' as outcome,
            timestamp '2026-01-01' as trained_at, true as is_champion, 'f' as file, 'lightgbm' as model,
            '[]' as features, 'good' as decision, 1 as row_count, 1 as learner_count, 'v' as model_version;
        insert into analytics.at_risk_scores by name select 'uni' as source, 'not_retained' as outcome,
            'uni:1:p' as enrollment_key, 'uni:1' as learner_key, date '{day + timedelta(days=1)}' as as_of_on,
            'high' as band, date '{day + timedelta(days=100)}' as scored_on,
            timestamp '{day + timedelta(days=100)}' as scored_at;
        """,
    )
    page = text_of(written(settings, at_risk_model))
    assert f"scored as of {in_words(day)}" in page
    assert "Call nobody from this list before newer data have come" in page
