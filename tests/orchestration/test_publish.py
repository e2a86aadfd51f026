"""What Dagster records of a publication."""

import csv

import dagster as dg
import duckdb

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.defs.instance.failures import problems_of
from dagster_project.defs.instance.history import record_end
from dagster_project.defs.publish.assets import learning_warehouse
from dagster_project.defs.resources import WarehouseResource
from dagster_project.ingest.loader import load_table
from dagster_project.report.summary import run_summary
from dagster_project.settings import Settings

INNER, OUTER = "an inner key, long enough: 0123456789", "a publication key, long enough: 0123456789"


def test_no_key_is_in_what_dagster_records_of_a_run(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNING_WAREHOUSE_PSEUDONYM_KEY", INNER)
    monkeypatch.setenv("LEARNING_WAREHOUSE_PUBLICATION_KEY", OUTER)
    settings.home.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("""
            create schema core; create schema marts;
            create table core.dim_learner as
                select 'uni' as source, 'uni:ann' as learner_key, 'ann' as learner_id, 1 as learner_count;
            create table marts.mart_learner_course as select source, learner_key from core.dim_learner;
        """)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = dg.materialize([learning_warehouse], resources={"warehouse": WarehouseResource()}, instance=instance)
    assert result.success
    with duckdb.connect(settings.published_dir / "learning_warehouse.duckdb", read_only=True) as connection:
        assert connection.execute("select count(*) from core.dim_learner where learner_id = 'ann'").fetchall() == [(0,)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path for path in files if any(key.encode() in path.read_bytes() for key in (INNER, OUTER))] == []


LEARNERS = [("s1", "Ann Archer", "ann.archer@uni.example"), ("s2", "Bob Baker", "bob@uni.example")]
# What stands in the notes of the second build: an address twice in one column, a name once in another.
PLANTED = """
    update core.dim_learner set note = 'write to <ANN.Archer@uni.example> ' || learner_id;
    update marts.mart_learner_course set topic = 'asked by Bob  Baker';
"""
SECRETS = ("ann.archer", "bob  baker", "bob baker", "archer")


def build(settings: Settings) -> None:
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("""
            create schema core; create schema marts;
            create table core.dim_learner as
                select
                    'campus' as source, 'campus:' || i as learner_key, i::varchar as learner_id,
                    'nothing of note ' || i as note
                from range(2) as t (i);
            create table marts.mart_learner_course as
                select source, learner_key, 'fractions' as topic from core.dim_learner limit 1;
        """)


def test_a_direct_identifier_fails_the_check_and_the_run_and_leaves_the_earlier_snapshot(settings, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    columns = [column.name for column in CONTRACTS["campus"].table("learners").columns]
    with (landing / "learners.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, columns, restval="")
        rows.writeheader()
        for learner_id, full_name, email in LEARNERS:
            row = {"learner_id": learner_id, "full_name": full_name, "email": email}
            rows.writerow({**row, "registered_at": "2024-01-01 08:00:00"})
    load_table(CONTRACTS["campus"], "learners", "campus", landing, settings)
    build(settings)
    (tmp_path / "dagster").mkdir()
    resources = {"warehouse": WarehouseResource()}
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        first = dg.materialize([learning_warehouse], instance=instance, resources=resources)
        published = (settings.published_dir / "current").readlink()
        with duckdb.connect(settings.build_database) as connection:
            connection.execute(PLANTED)
        second = dg.materialize([learning_warehouse], instance=instance, resources=resources, raise_on_error=False)

        evaluations = {
            run.run_id: [
                entry.dagster_event.asset_check_evaluation_data
                for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            ]
            for run in (first, second)
        }
        assert [len(of_run) for of_run in evaluations.values()] == [1, 1]
        (passed,), (failed,) = evaluations.values()
        assert (passed.check_name, passed.passed) == ("no_direct_identifier_is_published", True)
        assert passed.metadata["identifiers"].value == 4  # two names, two addresses
        assert (failed.check_name, failed.passed) == ("no_direct_identifier_is_published", False)
        assert (failed.blocking, failed.severity) == (True, dg.AssetCheckSeverity.ERROR)
        found = [record.data for record in failed.metadata["columns with identifiers"].records]
        assert found == [
            {"table": "core.dim_learner", "column": "note", "values": "2"},
            {"table": "marts.mart_learner_course", "column": "topic", "values": "1"},
        ]

        assert instance.get_run_by_id(second.run_id).status == dg.DagsterRunStatus.FAILURE
        assert not second.get_asset_materialization_events()
        assert (settings.published_dir / "current").readlink() == published
        assert [path.name for path in (settings.published_dir / "snapshots").iterdir()] == [published.name]
        with duckdb.connect(settings.published_dir / "learning_warehouse.duckdb", read_only=True) as connection:
            ((notes,),) = connection.execute("select count(*) from core.dim_learner where note like 'noth%'").fetchall()
            assert notes == 2

        # The last screen is also the text of the alert.
        screen = run_summary(settings, "campus", False, 1.0, 0, {}, *problems_of(instance, second.run_id))
        assert record_end(instance, second.run_id, settings) is None
    page = (settings.pages_dir / "pipeline_status.html").read_text()
    assert screen.count("no_direct_identifier_is_published") == 1
    for text in (screen, page):
        assert "core.dim_learner.note holds direct identifiers of learners in 2 different values" in text
        assert f"snapshot {published.name} is untouched" in text
    written = [path for path in (tmp_path / "dagster").rglob("*") if path.is_file()]
    told = [screen, page, *(path.read_bytes().decode("utf-8", "replace") for path in written)]
    assert [secret for secret in SECRETS for text in told if secret in text.lower()] == []


def test_a_column_that_bears_the_name_of_an_identifier_fails_the_check(settings):
    settings.home.mkdir(parents=True)
    build(settings)
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("alter table core.dim_learner rename note to email")
    result = dg.materialize([learning_warehouse], resources={"warehouse": WarehouseResource()}, raise_on_error=False)
    assert not result.success
    assert [check.passed for check in result.get_asset_check_evaluations()] == [False]
    (check,) = result.get_asset_check_evaluations()
    assert [record.data for record in check.metadata["columns with identifiers"].records] == [
        {"table": "core.dim_learner", "column": "email", "values": "its name"}
    ]
