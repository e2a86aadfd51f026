"""A publication key gives learners other pseudonyms in everything published, the same ones under the same key."""

import re

import duckdb
import pytest

from dagster_project.base.errors import StoreError
from dagster_project.privacy.learner_lookup import find_learner
from dagster_project.settings import Settings
from dagster_project.store.publish import compare_snapshots, make_snapshot_id, publish

INNER = "0123456789abcdef" * 4
FIRST, SECOND = "first publication key, long enough", "second publication key, long enough"
ANN, GONE = "1" * 32, "2" * 32


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path / "home", memory_limit="500MB", threads=2, pseudonym_key=INNER)
    settings.pages_dir.mkdir(parents=True)
    (settings.pages_dir / "status.html").write_text(f"<p>uni:{ANN}:c1 and {ANN}, the 4,096 B of uni:ann.</p>")
    with duckdb.connect(settings.build_database) as connection:
        connection.execute(f"""
            create schema core; create schema marts; create schema analytics; create schema ops;
            create table core.dim_learner as
                select 'uni' as source, 'uni:' || id as learner_key, id as learner_id, 30 as age_years
                from unnest(['{ANN}', 'ann', 'anna', 'be.n']) as t (id);
            create table core.fct_submission as
                select source, learner_key, learner_key || ':c1:t1' as course_enrollment_key, 'uni:c1' as course_key,
                    learner_key || ':c1:t1:q:' || i as submission_key, i as attempt_number
                from core.dim_learner, range(3) as t (i);
            create table core.fct_submission_mark as
                select submission_key, 'uni:' || unnest(['ann', 'staff1']) as grader_key from core.fct_submission;
            create table core.fct_held_rows as
                select 'uni' as source, unnest(['uni:{GONE}:c9', 'uni:{ANN}:c9', 'uni:item9', null]) as example_key;
            create table marts.mart_course as select 'uni' as source, 'uni:c1' as course_key, 3 as learner_count;
            create table analytics.at_risk_scores as
                select 'uni' as source, 'uni:' || id as learner_key, 'uni:' || id || ':c1:t1' as enrollment_key
                from unnest(['{ANN}', 'left']) as t (id);
            create table analytics.at_risk_reasons as select source, enrollment_key from analytics.at_risk_scores;
            create table ops.pipeline_checks as
                select 'run1' as run_id, 'keys: uni:{ANN}:c1, uni:be.n. And {ANN}' as finding;
            comment on column core.dim_learner.learner_key is 'Key';
        """)
    return settings


def publish_under(settings: Settings, key: str | None, data_versions: dict[str, str] | None = None):
    return publish(
        settings.model_copy(update={"publication_key": Settings(publication_key=key).publication_key}),
        make_snapshot_id(),
        sources_info=[],
        versions={},
        data_versions=data_versions,
    )


def texts(publication) -> set[str]:
    """Every text in a snapshot, its page with it."""
    found = {(publication.folder / "reports/status.html").read_text()}
    with duckdb.connect(publication.database, read_only=True) as connection:
        for schema, table, column in connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() "
            "where not internal and data_type = 'VARCHAR' and comment is null or column_name = 'learner_key'"
        ).fetchall():
            rows = connection.execute(f'select distinct "{column}" from {schema}.{table}').fetchall()
            found |= {text for (text,) in rows if text}
    return found


def words(found: set[str]) -> set[str]:
    return {word.strip(".") for text in found for word in re.split(r"[^\w.]+", text)}


def test_without_a_key_the_inner_pseudonyms_are_published(settings):
    publication = publish_under(settings, None)
    assert {ANN, "ann", "be.n", "left", GONE} <= words(texts(publication))


def test_with_a_key_no_inner_pseudonym_is_published_and_tables_join_as_before(settings):
    publication = publish_under(settings, FIRST)
    assert not {ANN, "ann", "anna", "be.n", "left", "staff1", GONE} & words(texts(publication))
    page = (publication.folder / "reports/status.html").read_text()
    assert re.fullmatch(r"<p>uni:([0-9a-f]{32}):c1 and \1, the 4,096 B of uni:[0-9a-f]{32}\.</p>", page)
    with duckdb.connect(publication.database, read_only=True) as connection:
        joined = connection.execute("""
            select count(*), count(distinct learners.learner_key),
                bool_and(learners.learner_id = learners.learner_key[5:]),
                bool_and(starts_with(submission_key, course_enrollment_key || ':q:')),
                bool_and(course_enrollment_key = learners.learner_key || ':c1:t1'), any_value(course_key)
            from core.dim_learner as learners inner join core.fct_submission using (learner_key)
        """).fetchall()
        assert joined == [(12, 4, True, True, True, "uni:c1")]
        assert connection.execute(
            "select count(*) from analytics.at_risk_reasons semi join analytics.at_risk_scores using (enrollment_key)"
        ).fetchall() == [(2,)]
        assert connection.execute(
            "select count(*) from core.fct_held_rows where example_key = 'uni:item9' or example_key is null"
        ).fetchall() == [(2,)]


def test_the_same_key_publishes_the_same_and_another_one_changes_every_pseudonym(settings):
    first, again, second = (publish_under(settings, key) for key in (FIRST, FIRST, SECOND))
    assert compare_snapshots(settings, first.folder, again.folder) == []
    known = {word for word in words(texts(first)) if re.fullmatch("[0-9a-f]{32}", word)}
    assert len(known) == 7
    assert not known & words(texts(second))


def test_who_becomes_known_is_renamed_in_tables_that_have_not_changed_too(settings):
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("insert into analytics.at_risk_reasons values ('uni', 'uni:late:c1:t1')")
        tables = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    versions = {table: "1" for (table,) in tables}
    first = publish_under(settings, FIRST, versions)
    assert "late" in words(texts(first))
    with duckdb.connect(settings.build_database) as connection:
        connection.execute("insert into core.dim_learner values ('uni', 'uni:late', 'late', 30)")
    carried = publish_under(settings, FIRST, versions | {"core.dim_learner": "2"})
    files = [x.folder / "parquet/core/fct_submission.parquet" for x in (first, carried)]
    assert files[0].samefile(files[1])
    assert "late" not in words(texts(carried))
    assert compare_snapshots(settings, carried.folder, publish_under(settings, FIRST).folder) == []


def test_the_way_back_leads_to_the_learner_and_from_the_old_key_to_nobody(settings):
    publication = publish_under(settings, FIRST)
    with duckdb.connect(publication.database, read_only=True) as connection:
        ((key, learner_id),) = connection.execute(
            "select learner_key, learner_id from core.dim_learner order by learner_key limit 1"
        ).fetchall()
    now = settings.model_copy(update={"publication_key": Settings(publication_key=FIRST).publication_key})
    (found,) = find_learner(now, [], f"{key}:c1:t1")
    assert found.learner_key in {f"uni:{ANN}", "uni:ann", "uni:anna", "uni:be.n"}
    assert [x.learner_key for x in find_learner(now, [], learner_id)] == [found.learner_key]
    assert [x.place for x in find_learner(now, [], found.learner_key)] == ["the warehouse itself"]
    later = settings.model_copy(update={"publication_key": Settings(publication_key=SECOND).publication_key})
    with pytest.raises(StoreError, match="Nobody bears"):
        find_learner(later, [], key)


def test_no_key_is_left_in_anything_that_a_publication_writes(settings):
    publish_under(settings, FIRST)
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if any(key.encode() in path.read_bytes() for key in (FIRST, INNER))] == []
