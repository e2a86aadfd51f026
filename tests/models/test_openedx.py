"""What staging makes of Open edX's events: rows written by hand, each rule in a source of its own."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import duckdb
import pytest

from tests.models.compiled_models import CompiledModels
from tests.models.made_openedx import (
    COURSE,
    PROBLEM,
    VIDEO,
    line,
    lines_of_a_week,
    moment,
    raw_row,
    statements_of_the_week,
)


def external_id(source: str) -> dict:
    return {
        "source": source,
        "external_user_id": "a-1",
        "external_id_type": "xapi",
        "username": "anna",
        "user_id": "7",
    }


def raw() -> dict[str, list[dict]]:
    rows: dict[str, list[dict]] = {"tracking_log": [], "statements": [], "external_id": []}

    def deliver(source: str, lines: list[dict] = (), statements: list[dict] = ()) -> None:
        rows["tracking_log"] += [raw_row("tracking_log", x, source) for x in lines]
        rows["statements"] += [raw_row("statements", x, source) for x in statements]

    deliver("log", lines_of_a_week())
    deliver("statements", statements=statements_of_the_week())
    deliver("both", lines_of_a_week() * 2, statements_of_the_week() * 2)
    deliver("unmapped", lines_of_a_week(), statements_of_the_week())
    rows["external_id"] += [external_id(source) for source in ("log", "both")]

    def enrollment(kind: str, day: int, mode: str, **parts: Any) -> dict:
        name, at = f"edx.course.enrollment.{kind}", f"2024-03-{day:02d}T00:00:00+00:00"
        event = {"course_id": COURSE, "user_id": 7, "mode": mode}
        return line(name, "anna", 7, at, COURSE, event) | parts

    changes = [
        enrollment("activated", 1, "audit"),
        enrollment("mode_changed", 2, "verified"),
        enrollment("deactivated", 3, "verified"),
        enrollment("activated", 10, "audit"),
    ]
    deliver("modes", changes)

    nobody = line("play_video", "", "", moment(1), COURSE, {"id": "lecture1"})
    failed = line("problem_check", "anna", 7, moment(2), COURSE, {"exception": "division by zero"})
    elsewhere = line("/dashboard", "anna", 7, moment(3), None, {})
    deliver("dropped", [nobody, failed, elsewhere, *lines_of_a_week()[1:2]])

    by_staff = line("edx.course.enrollment.activated", "staff", 1, moment(0), COURSE, {"user_id": 7, "mode": "audit"})
    names_anna = line("page_close", "anna", 7, moment(1), COURSE, {}, "browser")
    deliver("staff", [by_staff, names_anna])

    seen = {"first": ("2013-03-04", "2013-05-02"), "second": ("2019-01-07", "2021-06-30"), "third": ("2021-04-01",) * 2}
    seen["fourth"] = ("2021-05-06", "2021-05-07")
    for course, days in seen.items():
        key = f"course-v1:Uni+{course}+session01"
        deliver("reused", [line("play_video", "anna", 7, f"{day}T10:00:00+00:00", key, {"id": "v"}) for day in days])

    tom = [line("play_video", "tom", 8, moment(5), COURSE, '{"id": "lecture1", "currentTime": 0.5}', "browser")]
    tom += [line("play_video", "ida", 9, moment(5), COURSE, '{"id": "lecture1", "currentTime": 0.5}', "browser")]
    deliver("roles", [*lines_of_a_week(), *tom])
    rows["student_courseaccessrole"] = [
        {"source": "roles", "org": "Uni", "course_id": COURSE, "user_id": "8", "role": "beta_testers"},
        {"source": "roles", "org": "Uni", "course_id": None, "user_id": "9", "role": "instructor"},
        # In another course, and at an organization whose name is the beginning of this one.
        {"source": "roles", "org": "Uni", "course_id": "course-v1:Uni+Math2+2024", "user_id": "7", "role": "staff"},
        {"source": "roles", "org": "Un", "course_id": None, "user_id": "7", "role": "staff"},
    ]

    old, key = "MITx/6.002x/2012_Fall", "i4x://MITx/6.002x/problem/H1"
    deliver(
        "old",
        [
            line("play_video", "anna", 7, moment(1), old, '{"id": "i4x-MITx-6_002x-video-L1", "currentTime": 1}'),
            line("showanswer", "anna", 7, moment(2), old, {"problem_id": key}),
            line("showanswer", "anna", 7, moment(3), old, {"problem_id": "i4x:;_;_MITx;_6.002x;_problem;_H2"}),
        ],
    )

    def graded(name: str, day: int, event: dict) -> dict:
        return line(name, "anna", 7, f"2024-06-{day:02d}T00:00:00+00:00", COURSE, {"user_id": 7} | event)

    of_problem = {"problem_id": PROBLEM}
    deliver(
        "grades",
        [
            graded("edx.grades.course.grade_calculated", 1, {"percent_grade": 0.4, "letter_grade": ""}),
            graded("edx.course.grade.now_failed", 2, {}),
            graded("edx.grades.course.grade_calculated", 3, {"percent_grade": 0.8, "letter_grade": "B"}),
            graded("edx.course.grade.now_passed", 4, {}),
            graded("edx.grades.problem.submitted", 5, of_problem | {"weighted_earned": 3, "weighted_possible": 4}),
            graded("edx.grades.problem.submitted", 6, of_problem | {"weighted_earned": 0, "weighted_possible": 0}),
        ],
    )
    rows["course_overviews"] = [
        {"source": "grades", "course_key": COURSE, "display_name": name, "course_start": start}
        | {"course_end": "2024-05-31", "time_last_dumped": dumped}
        for name, start, dumped in (("Old name", "2024-01-08", "2024-01-01"), ("Math", "2030-01-01", "2024-02-01"))
    ]
    return rows


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> CompiledModels:
    wanted = "path:models/staging/openedx fct_video_watch"
    return CompiledModels(tmp_path_factory.mktemp("openedx"), {"openedx": raw()}, only=wanted)


@pytest.fixture(scope="module")
def built(models) -> Iterator[duckdb.DuckDBPyConnection]:
    with models.built() as connection:
        yield connection


def rows_of(built: duckdb.DuckDBPyConnection, source: str, table: str, columns: str) -> list[tuple]:
    return built.execute(f"select {columns} from {table} where source = ? order by all", [source]).fetchall()


@pytest.mark.parametrize("source", ["log", "statements", "both"])
def test_a_week_in_a_log_as_statements_and_as_both_is_the_same(built, source):
    """Each delivered twice in `both`: every event counts once."""
    assert rows_of(built, source, "staging.stg_openedx__learners", "learner_id") == [("a-1",)]
    assert rows_of(built, source, "staging.stg_openedx__course_enrollments", "learner_id, course_id, term_id") == [
        ("a-1", "Uni+Math1", "2024")
    ]
    events = "distinct event_id, event_type, item_id, occurred_at, learner_id"
    events = [x[1:] for x in rows_of(built, source, "staging.stg_openedx__events", events)]
    assert sorted(events) == [
        ("problem_checked", PROBLEM, datetime(2024, 3, 4, 10, 4, 0, 123456), "a-1"),
        ("video_paused", VIDEO, datetime(2024, 3, 4, 10, 2, 0, 123456), "a-1"),
        ("video_played", VIDEO, datetime(2024, 3, 4, 10, 1, 0, 123456), "a-1"),
    ]
    submissions = "item_id, attempt_number, score, maximum_score, graded_by"
    assert rows_of(built, source, "staging.stg_openedx__submissions", submissions) == [
        (PROBLEM, 1, 1.0, 2.0, "automatic")
    ]
    watched = "learner_key, item_id, first_second, last_second, watch_count"
    assert rows_of(built, source, "core.fct_video_watch", watched) == [(f"{source}:a-1", VIDEO, 1, 31, 1)]


@pytest.mark.parametrize("source", ["log", "statements", "both"])
def test_of_a_problem_of_several_questions_the_questions_are_answers_and_not_the_problem(built, source):
    """Two questions, one right: two answers of one point each, and not a third of two points."""
    columns = "question_id, question_version, attempt_number, item_id, score, maximum_score"
    assert rows_of(built, source, "staging.stg_openedx__responses", columns) == [
        (PROBLEM + "_2_1", 1, 1, PROBLEM, 1.0, 1.0),
        (PROBLEM + "_3_1", 1, 1, PROBLEM, 0.0, 1.0),
    ]
    questions = rows_of(built, source, "staging.stg_openedx__questions", "question_id, course_id, maximum_score")
    assert questions == [(PROBLEM + "_2_1", "Uni+Math1", 1.0), (PROBLEM + "_3_1", "Uni+Math1", 1.0)]


def test_without_external_ids_a_learner_of_logs_and_one_of_statements_stay_two(built):
    assert rows_of(built, "unmapped", "staging.stg_openedx__learners", "learner_id") == [("a-1",), ("anna",)]


def test_logs_and_statements_whose_learners_nobody_links_are_told(models, built):
    found = models.found_by("assert_openedx_learners_are_linked", built)
    assert found == [("unmapped", 1, 0)]


def test_a_change_of_mode_is_no_enrollment_and_who_comes_back_has_two(built):
    columns = "registration_number, registered_at, unregistered_on, is_paid, outcome"
    assert rows_of(built, "modes", "staging.stg_openedx__course_enrollments", columns) == [
        (1, datetime(2024, 3, 1), date(2024, 3, 3), True, "withdrawn"),
        (2, datetime(2024, 3, 10), None, False, None),
    ]
    history = rows_of(
        built,
        "modes",
        "staging.int_openedx__enrollment_changes",
        "occurred_at, kind, enrollment_mode, is_mode_change, registration_number",
    )
    assert [x[1:] for x in history] == [
        ("registered", "audit", False, 1),
        ("registered", "verified", True, 1),
        ("unregistered", "verified", False, 1),
        ("registered", "audit", False, 2),
    ]


def test_events_of_nobody_of_no_course_and_of_failures_are_left_out_and_counted(built):
    counts = rows_of(
        built, "dropped", "staging.int_openedx__event_counts", "drop_reason, kind, row_count, learner_count"
    )
    assert sorted(counts, key=str) == [
        ("failed on the platform", "problem_checked", 1, 1),
        ("no course", "unnamed", 1, 1),
        ("no learner", "video_played", 1, 0),
        (None, "video_played", 1, 1),
    ]
    assert rows_of(built, "dropped", "staging.stg_openedx__events", "event_type, learner_id") == [
        ("video_played", "anna")
    ]


def test_whom_staff_enroll_is_enrolled_and_not_staff(built):
    """The line bears the name of staff and the number 7, which is Anna's by another line."""
    assert rows_of(built, "staff", "staging.stg_openedx__course_enrollments", "learner_id") == [("anna",)]


def test_who_has_a_role_in_a_course_is_no_learner_of_it(built):
    assert rows_of(built, "roles", "staging.stg_openedx__course_enrollments", "learner_id") == [("anna",)]


def test_old_keys_name_courses_runs_and_blocks(built):
    items = rows_of(built, "old", "staging.stg_openedx__course_items", "course_id, version_id, item_id, kind")
    assert items == [
        ("MITx+6.002x", "2012_Fall", "i4x://MITx/6.002x/problem/H1", "quiz"),
        ("MITx+6.002x", "2012_Fall", "i4x://MITx/6.002x/problem/H2", "quiz"),
        ("MITx+6.002x", "2012_Fall", "i4x://MITx/6.002x/video/L1", "video"),
    ]


def test_the_last_grade_and_the_last_state_tell_the_outcome(built):
    """Failed with 40 % on 2 June, passed with 80 % on the 3rd: passed then, though the course was over."""
    columns = "registered_at, completed_on, outcome, final_grade_share"
    assert rows_of(built, "grades", "staging.stg_openedx__course_enrollments", columns) == [
        (datetime(2024, 6, 1), date(2024, 6, 3), "pass", 0.8)
    ]


def test_a_block_that_is_only_graded_is_handed_in_by_its_grades(built):
    """The second is out of 0 points, which is no score."""
    columns = "attempt_number, score, maximum_score"
    assert rows_of(built, "grades", "staging.stg_openedx__submissions", columns) == [(1, 3.0, 4.0), (2, None, None)]


def test_a_run_without_an_end_ends_when_nothing_has_happened_in_it_for_eight_weeks(built):
    """Names of runs come again for years: the first one does not last until 2021, where the second one goes on."""
    assert rows_of(built, "reused", "staging.stg_openedx__course_offerings", "course_id, starts_on, ends_on") == [
        ("Uni+first", date(2013, 3, 4), date(2013, 5, 2)),
        # 54 days before the last event.
        ("Uni+fourth", date(2021, 5, 6), None),
        ("Uni+second", date(2019, 1, 7), None),
        ("Uni+third", date(2021, 4, 1), date(2021, 4, 1)),
    ]


def test_a_start_that_nobody_has_set_is_the_first_day_with_an_event(built):
    columns = "course_id, term_id, starts_on, ends_on"
    assert rows_of(built, "grades", "staging.stg_openedx__course_offerings", columns) == [
        ("Uni+Math1", "2024", date(2024, 6, 1), date(2024, 5, 31))
    ]
    assert rows_of(built, "grades", "staging.stg_openedx__courses", "course_name") == [("Math",)]
