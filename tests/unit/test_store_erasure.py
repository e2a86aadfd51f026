"""An erased learner is gone from the build database, the append-only files and every snapshot but the new one."""

import json

import duckdb
import pytest

from dagster_project.base.errors import PublishError
from dagster_project.ingest.requests import Erasure, Erasures, tombstone
from dagster_project.privacy.erasure import stages as erasure
from dagster_project.report.data_docs import write_pages
from dagster_project.settings import Settings
from dagster_project.store.erasure import ErasedLearners, count_learners
from dagster_project.store.findings import is_refused, page_of, read, record
from dagster_project.store.publish import make_snapshot_id, publish
from tests.made_findings import finding

ANN, ANNA = "uni:ann", "uni:anna"


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path / "home", memory_limit="500MB", threads=2)
    settings.home.mkdir()
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(f"""
            create schema core; create schema marts; create schema analytics;
            create table core.dim_learner as select 'uni' as source, learner_key, learner_key[5:] as learner_id
                from unnest(['{ANN}', '{ANNA}', 'other:ann']) as t (learner_key);
            create table core.fct_submission as
                select learner_key || ':c1:t1' as course_enrollment_key, learner_key || ':c1:t1:q:1' as submission_key
                from core.dim_learner;
            create table core.fct_submission_mark as
                select 'other:ann:c1:t1:q:1' as submission_key, learner_key as grader_key from core.dim_learner;
            create table marts.mart_course as select 'uni:ann' as course_key, 3 as learner_count;
            create table analytics.at_risk_reasons as select '{ANN}:c1:t1' as enrollment_key;
            create view marts.mart_learner_course as from core.fct_submission;
            comment on column core.dim_learner.learner_key is 'Key';
        """)
    folder = settings.artifacts_dir / "append_only" / "analytics.at_risk_scores"
    folder.mkdir(parents=True)
    rows = f"select unnest(['{ANN}', '{ANNA}']) as learner_key, 0.5 as probability"
    duckdb.sql(f"copy ({rows}) to '{folder}/run1.parquet'")
    return settings


def publish_now(settings, suffix=""):
    return publish(
        settings,
        make_snapshot_id(suffix),
        sources_info=[],
        versions={},
        erased=erasure.erased_learners(settings),
    ).snapshot_id


def ask(settings):
    erasures = Erasures(settings)
    hashed = tombstone(ANN, erasures.key)
    return erasures.save(Erasure("r1", "uni", hashed, "2026-01-01T00:00:00", "unloaded", {"raw.learners": 1}))


def test_only_the_learner_is_removed_and_the_receipt_tells_it_without_naming_him(settings):
    publish_now(settings, "a")
    ask(settings)
    of_her = finding("marts.mart_course", unexpected_count=1, examples=json.dumps([{"learner_key": ANN}]))
    record(settings, {"marts.mart_course": [of_her]})
    write_pages(settings, ["marts.mart_course"], ["marts.mart_course"])
    erasure.unbuild(settings)
    assert not page_of(settings, "marts.mart_course").exists()
    assert (is_refused(settings, "marts.mart_course"), read(settings)[0]["examples"]) == (True, None)
    snapshot = publish_now(settings, "b")
    (receipt,) = erasure.finish(settings, snapshot)
    told = json.loads(receipt.read_text())
    assert told["rows_removed"] == {
        "raw.learners": 1,
        "core.dim_learner": 1,
        "core.fct_submission": 1,
        "core.fct_submission_mark": 1,
        "analytics.at_risk_reasons": 1,
        "files of analytics.at_risk_scores": 1,
    }
    assert told["published_without_the_learner"] == snapshot
    assert ANN not in receipt.read_text()
    assert [path.name for path in (settings.published_dir / "snapshots").iterdir()] == [snapshot]
    with duckdb.connect(settings.build_database, read_only=True) as connection:
        keys = connection.execute("select learner_key from core.dim_learner order by all").fetchall()
        assert keys == [("other:ann",), (ANNA,)]
        assert connection.execute("select count(*) from marts.mart_learner_course").fetchall() == [(2,)]
        assert connection.execute("select count(*) from marts.mart_course").fetchall() == [(1,)]
        described = connection.execute(
            "select comment from duckdb_columns() where comment is not null and schema_name = 'core'"
        ).fetchall()
        assert described == [("Key",)]
    left = ErasedLearners([tombstone(ANN, Erasures(settings).key)], Erasures(settings).key)
    assert count_learners(settings, settings.published_dir / "learning_warehouse.duckdb", left) == {}


def test_an_interrupted_erasure_is_finished_by_doing_it_again(settings):
    asked = ask(settings)
    erasure.unbuild(settings)
    erasure.unbuild(settings)
    publish_now(settings, "a")  # killed after this
    assert erasure.finish(settings, publish_now(settings, "b"))
    assert erasure.finish(settings, publish_now(settings, "c")) == []
    (done,) = Erasures(settings).all()
    assert (done.stage, done.receipt) == ("finished", asked.receipt)


def test_a_build_with_an_erased_learner_is_not_published(settings):
    ask(settings)
    with pytest.raises(PublishError, match=r"core.dim_learner \(1 rows\)"):
        publish_now(settings)
    assert not (settings.published_dir / "current").exists()


def test_the_key_is_not_shown(settings):
    assert "secret" not in repr(ErasedLearners(["x"], b"secret"))
