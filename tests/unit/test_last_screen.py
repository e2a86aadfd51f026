"""The last screen names every reason of a refused row, every failure, and every answer that came out empty."""

from datetime import datetime

import duckdb
import pytest

from dagster_project.ingest.audit import refused_reasons
from dagster_project.report.alert import Problem, alert_text, failure_text
from dagster_project.report.empty_answers import empty_answers
from tests.unit.landing_files import EVENTS_HEADER, PERSONAL, Bench

BEGAN_AT = datetime(2026, 3, 1, 8)
OUTCOMES = ("failed_or_withdrawn", "not_retained")


@pytest.fixture
def published():
    """A snapshot of two sources: `a` has some answers, `b` none."""
    with duckdb.connect() as connection:
        for statement in (
            "create schema _meta",
            "create schema analytics",
            "create table _meta.sources as select unnest(['a', 'b']) as source",
            "create table analytics.driver_effects (source text, driver_id text, program_key text, status text, "
            "reason text)",
            "insert into analytics.driver_effects values ('a', 'd1', null, 'estimated', null), "
            "('a', 'd2', null, 'not estimable', 'too few rows'), ('a', 'd3', null, 'not estimable', 'too rare'), "
            "('a', 'd4', null, 'not estimable', 'too few rows'), ('a', 'd1', 'a:p', 'not estimable', 'a program')",
            "create table analytics.skill_scales (source text, skill_key text, bank_version text, reason text)",
            "insert into analytics.skill_scales values ('a', 'a:S1', 'v', null), ('b', 'b:S1', null, 'no ties'), "
            "('b', 'b:S2', null, 'no ties')",
            "create table analytics.skill_abilities (source text, is_shown boolean, withheld_reason text)",
            "insert into analytics.skill_abilities values ('a', true, null), ('a', false, 'few answers'), "
            "('b', false, 'few answers'), ('b', false, 'uncertain')",
            "create table analytics.skill_next_courses (source text, course_key text, reason text)",
            "insert into analytics.skill_next_courses values ('a', 'a:C', null), ('a', null, 'too hard'), "
            "('b', null, 'too hard'), ('b', null, 'too hard')",
            "create table analytics.at_risk_scores (source text, outcome text, scored_at timestamp)",
            "insert into analytics.at_risk_scores values ('a', 'not_retained', '2026-03-01 09:00'), "
            "('a', 'failed_or_withdrawn', '2026-02-28 09:00')",
            "create table _meta.tables as select schema_name, table_name from duckdb_tables()",
        ):
            connection.execute(statement)
        yield connection


def test_what_came_out_empty_is_told_by_source_with_every_reason(published):
    scored = {"a/failed_or_withdrawn": "nobody is active", "b/failed_or_withdrawn": "no model yet"}
    decided = {"b/failed_or_withdrawn": "too few learners with a matured outcome"}
    told = [str(answer) for answer in empty_answers(published, OUTCOMES, BEGAN_AT, scored, decided)]
    assert told == [
        "  a: drivers of retention: 3 of 4 not estimable\n      too few rows: d2, d4\n      too rare: d3",
        "  a: learners at risk (failed or withdrawn): nobody is scored\n      nobody is active",
        "  b: drivers of retention: none was analysed",
        "  b: skills: 2 of 2 without a scale, so that nobody has an ability in them\n      no ties: S1, S2",
        "  b: abilities: none of 2 is certain enough to be shown\n      few answers\n      uncertain",
        "  b: courses to take next: none for 2 learners by skill\n      too hard",
        "  b: learners at risk (failed or withdrawn): nobody is scored\n      no model yet; too few learners with a "
        "matured outcome",
        "  b: learners at risk (not retained): nobody is scored\n      no learner of the source can have this outcome "
        "by its data",
    ]


def test_refused_rows_are_told_by_reason_with_one_example_and_no_value(tmp_path):
    bench = Bench(tmp_path)
    rows = b"1,x,2024-01-31,,1\n2,x,2023-01-31,,1\n3,x,2022-01-31,,1\n4,x,'its' odd,,1\n5,x,odd,,many\n6,x,2024-01-31\n"
    bench.deliver("events.csv", EVENTS_HEADER + rows)
    bench.load("events", "here")
    told = [str(reason) for reason in refused_reasons(bench.contract, "here", bench.settings)]
    assert told == [
        "events: 2 × the event date is outside of the permitted range, 2024-01-01 to 2024-12-31, such as record 2 of "
        "events.csv",
        "events: 1 × 3 fields, expected 5, such as record 6 of events.csv",
        "events: 1 × column occurred_at: a value is not of type timestamp, such as record 4 of events.csv",
        "events: 1 × column occurred_at: a value is not of type timestamp; column minutes: a value is not of type "
        "double, such as record 5 of events.csv",
    ]


def test_of_people_the_reasons_are_told_too(tmp_path):
    bench = Bench(tmp_path, PERSONAL)
    bench.deliver("people.csv", b"person,full_name,email,visits\np1,Ann,a@x,1\np2,Bob,b@x,often\n")
    bench.load("people", "here")
    (reason,) = refused_reasons(bench.contract, "here", bench.settings)
    assert str(reason) == "people: 1 × column visits: a value is not of type integer, such as record 2 of people.csv"


def test_the_terminal_names_every_failure_and_an_alert_the_first_ones(tmp_path):
    bench = Bench(tmp_path)
    problems = [Problem(f"step_{number:02}", "it failed") for number in range(15)]
    shown = failure_text(bench.settings, problems, 0)
    assert [f"step_{number:02}" for number in range(15)] == [
        line.removeprefix("  ✗ ") for line in shown.splitlines() if line.startswith("  ✗ ")
    ]
    assert "… and 7 more" in alert_text(bench.settings, problems, 0)
