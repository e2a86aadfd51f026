"""The driver analysis as assets: on marts made from the simulation's own tables, down to the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

import dagster as dg
import duckdb
import pandas as pd
import pytest

from dagster_project import simulate
from dagster_project.analyses.drivers import SEEDS, TABLES, _rows
from dagster_project.defs.drivers import checks
from dagster_project.defs.drivers.assets import drivers
from dagster_project.defs.resources import WarehouseResource
from dagster_project.report.retention_drivers import make_page
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse

KEYS = {"program_id": "program_key", "learner_id": "learner_key", "course_id": "course_key"}
KEYS["first_term_id"] = "first_term_key"
CHECKS = [
    checks.driver_placebos_are_rejected_as_often_as_chance_has_it,
    checks.driver_effects_hold_nothing_that_follows_the_driver,
    checks.driver_effects_rest_on_enough_clusters,
    checks.driver_effects_cover_the_catalogue,
]


class Built(NamedTuple):
    settings: Settings
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[Built]:
    """A build database with the marts of two sources; the second one tells no retention."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path_factory.mktemp("drivers")))
        settings = Settings()
        settings.build_database.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(settings.build_database)) as connection:
            for schema in ("core", "marts", "analytics", "reporting"):
                connection.execute(f"create schema {schema}")
            made = simulate.tables(2, 2500)
            for table, mart in zip(made, ("mart_learner_program", "mart_retention_learner_course"), strict=True):
                rows = table.rename_columns([KEYS.get(name, name) for name in table.column_names])
                connection.register("rows", rows)
                connection.execute(f"create table marts.{mart} as select 'uni_a' as source, * from rows")
                connection.execute(f"insert into marts.{mart} (source, program_key) values ('uni_b', 'P')")
            connection.execute("create table core.dim_source as select unnest(['uni_a', 'uni_b']) as source")
            for table in SEEDS.values():
                file = REPOSITORY / "dbt" / "seeds" / f"{table.split('.')[1]}.csv"
                connection.execute(f"create table {table} as from read_csv('{file}', all_varchar = true)")
            numbers = (
                "figure",
                "position",
                "printed_low",
                "printed_high",
                "printed_percent_low",
                "printed_percent_high",
            )
            for column in numbers:
                connection.execute(f"alter table {SEEDS['catalogue']} alter {column} type double")
        result = dg.materialize([drivers, *CHECKS], resources={"warehouse": WarehouseResource()})
        assert result.success
        yield Built(settings, result)


def test_every_check_passes_and_every_table_is_written(built):
    evaluations = built.result.get_asset_check_evaluations()
    assert len(evaluations) == len(CHECKS)
    assert all(evaluation.passed and evaluation.blocking for evaluation in evaluations)
    counts = Warehouse(built.settings).row_counts(list(TABLES.values()))
    assert all(counts[table] for table in TABLES.values())


def test_a_source_without_the_outcome_says_so_for_every_driver(built):
    effects = Warehouse(built.settings).read(TABLES["effects"], where="source = 'uni_b'")
    assert len(effects) == 30
    assert set(effects["status"]) == {"not estimable"}
    assert effects["reason"].str.contains("no first-year retention").all()


def test_graduates_are_read_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_HOME", str(tmp_path))
    settings = Settings()
    settings.build_database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute(
            "create schema marts; create table marts.mart_learner_program as from (values "
            "('a', 'p', 'stays', 't', true, false), ('a', 'p', 'graduate', 't', true, true), "
            "('a', 'p', 'goes', 't', false, null), ('a', 'p', 'too new', 't', null, null)) "
            "as rows (source, program_key, learner_key, first_term_key, is_retained, is_graduated)"
        )
    seeds = dict.fromkeys(("catalogue", "groups"), pd.DataFrame({"mart_column": []}))
    store = Warehouse(settings)
    without, everybody = _rows(store, seeds, "learner_program", "a", tmp_path / "rows")
    found = [[x for batch in rows() for x in batch.column("learner_key").to_pylist()] for rows in (without, everybody)]
    assert found == [["goes", "stays"], ["goes", "graduate", "stays"]]
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("update marts.mart_learner_program set is_graduated = false")
    assert _rows(store, seeds, "learner_program", "a", tmp_path / "rows")[1] is None


def test_the_figures_hang_on_the_asset(built):
    result = built.result
    (event,) = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["analytics", "driver_effects"])
    ]
    figures = [name for name in event.step_materialization_data.materialization.metadata if "figure" in name]
    assert figures == [f"uni_a, figure {number}" for number in range(3, 12)]


@pytest.mark.parametrize(
    ("statement", "check", "words"),
    [
        (
            "update marts.driver_control_eligibility set eligible = 'yes' "
            "where driver_group = 'type_quiz' and control_group = 'GRADE'",
            checks.driver_effects_hold_nothing_that_follows_the_driver,
            "type_quiz × GRADE",
        ),
        (
            "delete from analytics.driver_effects where driver_id = 'has_quiz' and source = 'uni_b'",
            checks.driver_effects_cover_the_catalogue,
            "uni_b: has_quiz has no row",
        ),
        (
            "update analytics.driver_effects set cluster_count = 4 where driver_id = 'has_quiz' and source = 'uni_a'",
            checks.driver_effects_rest_on_enough_clusters,
            "uni_a, has_quiz: 4 clusters",
        ),
        (
            "update analytics.driver_placebos set rejected_count = 60 where kind = 'own'",
            checks.driver_placebos_are_rejected_as_often_as_chance_has_it,
            "uni_a: own: 30.0 %",
        ),
    ],
)
def test_each_check_fails_where_its_claim_is_false(built, check_after, statement, check, words):
    result = check_after(built.settings, statement, check)
    assert not result.passed
    assert any(words in error for error in result.metadata["found"].data), result.metadata["found"].data


def test_the_page_tells_every_driver_and_needs_no_network(built):
    with duckdb.connect(str(built.settings.build_database)) as connection:
        connection.execute(
            "create or replace table reporting.driver_effects as select effects.*, catalogue.figure, title, unit, "
            "printed_effect, printed_percent_low, printed_percent_high, 'a sentence' as sentence "
            "from analytics.driver_effects as effects inner join marts.driver_catalogue as catalogue using (driver_id) "
            "where program_key is null"
        )
    page = make_page(Warehouse(built.settings))
    titles = Warehouse(built.settings).read(SEEDS["catalogue"])["title"]
    assert [title for title in titles if title not in unescape(page)] == []
    assert "Association, not proof" in page
    assert "uni_b" in page
    # nothing is fetched: every source is in the document itself
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert page.count("data:image/svg+xml") == 11


def test_words_and_colours_of_the_page_follow_the_finding(built):
    effects = Warehouse(built.settings).read(TABLES["effects"], where="program_key is null and source = 'uni_a'")
    counts = effects["finding"].value_counts()
    assert counts.get("shown", 0) > 0
    page = unescape(make_page(Warehouse(built.settings)))
    assert page.count('class="number sure') == counts["shown"]
    assert len(re.findall('<div class="card[ "]', page)) == min(counts["shown"], 6)
    for word in ("shown", "hint", "not shown"):
        of_driver = [row for row in page.split("<tr>") if f"<td>{word}</td>" in row and "→" in row]
        assert len(of_driver) == counts.get(word, 0), word
    strongest = effects[effects["finding"] == "shown"].sort_values("percent", key=abs).iloc[-1]
    low, high = (round(100 * strongest[f"retention_at_{end}"]) for end in ("low", "high"))
    assert f"<b>{low} → {high} of 100 stay</b>" in page
