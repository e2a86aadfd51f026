"""What `make check-contract` says of an entity, of strangers in it and of answers, on views written by hand."""

import duckdb
import pytest

from dagster_project.report.contract_check import answers, filled, strangers, unread, written


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        connection.execute("create schema staging")
        connection.execute(
            "create view staging.stg_uni__courses as select * from (values "
            "('uni', 'A', 'Algebra and a name that is longer than a cell', null), ('uni', 'B', null, null)) "
            "as t (source, course_id, course_name, level)"
        )
        connection.execute(
            "create view staging.stg_uni__course_enrollments as select * from (values "
            "('uni', 'ana', 'A', 'T', 'pass'), ('uni', 'bo', 'A', 'T', null), ('uni', 'bo', 'C', 'T', null)) "
            "as t (source, learner_id, course_id, term_id, outcome)"
        )
        connection.execute(
            "create view staging.stg_uni__course_offerings as select 'uni' as source, 'A' as course_id, "
            "date '2024-01-01' as starts_on"
        )
        yield connection


def entities(connection):
    columns = {
        "courses": ["course_id", "course_name", "level"],
        "course_enrollments": ["learner_id", "course_id", "outcome"],
        "course_offerings": ["course_id", "starts_on"],
    }
    return {name: filled(connection, "uni", name, of) for name, of in columns.items()}


def test_an_entity_is_shown_with_what_is_empty(connection):
    courses = entities(connection)["courses"]
    assert (courses.rows, courses.empty) == (2, ("level",))
    assert written(courses) == [
        "courses: 2 rows",
        "  without a value: level",
        "  in some rows only: course_name 50%",
        "  course_id  course_name",
        "  A          Algebra and a name that…",
        "  B",
    ]


def test_rows_that_name_what_is_not_there_are_counted(connection):
    assert list(strangers(connection, "uni", entities(connection))) == [
        "course_enrollments: 1 of 3 rows name a course_id that courses does not have"
    ]


def test_an_answer_says_what_it_lacks(connection):
    told = dict(answers(connection, "uni", entities(connection)))
    assert told["Who is at risk of failing or leaving a course"] == ("events (events)",)
    assert told["Severity of graders"] == ("single marks of hand-ins (submission_marks)",)
    connection.execute(
        "create view staging.stg_uni__events as select 'ana' as learner_id, null::timestamp as occurred_at"
    )
    known = entities(connection) | {"events": filled(connection, "uni", "events", ["learner_id"])}
    assert dict(answers(connection, "uni", known))["Who is at risk of failing or leaving a course"] == ()


def test_columns_that_no_staging_model_names_are_told_by_table():
    sql = 'select user_id, "Name" from {{ source("raw_uni", "users") }}'
    tables = {"users": ["user_id", "name", "name_of_user"], "logs": ["at"]}
    assert list(unread(tables, sql)) == [
        "table users: no staging model reads name_of_user",
        "table logs: no staging model reads it",
    ]
