"""A real Moodle's delivery, written by hand, through the loader and the models: every answer was worked out by hand."""

from collections.abc import Collection
from datetime import date
from pathlib import Path

import pytest

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import load_table
from dagster_project.settings import REPOSITORY, Settings
from tests.models.made_source import MadeWarehouse
from tests.models.written_moodle import (
    ALGEBRA,
    ANA,
    BO,
    CY,
    DEE,
    EVE,
    EXCEPTIONS,
    FAY,
    HEADERS,
    LOGIC,
    STAFF_ROOM,
    TEACHER,
    deliver,
)

NAMES = {ANA: "Ana", BO: "Bo", CY: "Cy", DEE: "Dee", EVE: "Eve", FAY: "Fay", TEACHER: "Tutor"}
BUILT = [
    "dim_course_item",
    "dim_course_offering",
    "dim_learner",
    "dim_program",
    "fct_course_registration",
    "fct_course_enrollment",
    "fct_daily_activity",
    "fct_held_rows",
    "fct_program_enrollment",
    "fct_response",
    "fct_submission",
    "fct_submission_mark",
]


def built(folder: Path, tables: Collection[str], models: Collection[str]) -> MadeWarehouse:
    """A warehouse with these tables of the delivery in `folder`/landing, and these models built."""
    made = MadeWarehouse(folder / "warehouse")
    settings = Settings(home=made.home, environment="demo", pseudonym_key=None)
    contract = read_contracts(REPOSITORY / "dbt" / "models")["moodle"]
    for table in tables:
        load = load_table(contract, table, "uni", folder / "landing", settings)
        assert (load.accepted > 0, load.refused) == (True, 0), table
    made.build("run", "--select", *(f"+{model}" for model in models))
    made.people = {keyed_hash(str(number), read_key(settings)): name for number, name in NAMES.items()}
    return made


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moodle")
    deliver(folder / "landing")
    return built(folder, HEADERS, BUILT)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The same site without a log, contexts and activities, and with both courses as runs of one."""
    folder = tmp_path_factory.mktemp("bare")
    left_out = ["logstore_standard_log", "context", "modules", "course_modules", "course_modules_completion"]
    left_out += ["program_categories", "program_members", "institution"]
    deliver(folder / "landing", *left_out)
    runs = f"course,course_id,term_id\n{ALGEBRA},MATH,spring\n{LOGIC},MATH,summer\n"
    (folder / "landing/course_runs.csv").write_text(runs)
    tables = [table for table in HEADERS if table not in left_out]
    entities = ["courses", "course_offerings", "course_enrollments", "events", "programs", "course_items"]
    return built(folder, [*tables, "course_runs"], [f"stg_moodle__{entity}" for entity in entities])


@pytest.fixture(scope="module")
def lenient(tmp_path_factory):
    """The same site with exceptions from due days, and with quizzes of which several attempts make the result."""
    folder = tmp_path_factory.mktemp("lenient")
    deliver(folder / "landing", instead=EXCEPTIONS)
    return built(folder, {**HEADERS, **EXCEPTIONS}, ["fct_submission"])


def rows(warehouse, sql: str) -> set[tuple]:
    """Rows of a query, the first column of which is a learner's pseudonym or key: their name stands for it."""
    found = [(warehouse.people[key.rpartition(":")[2]], *row) for key, *row in warehouse.query(sql)]
    assert len(set(found)) == len(found)
    return set(found)


def test_learners_are_those_with_the_role_of_students_who_left_among_them(warehouse):
    assert rows(warehouse, "select learner_id, country from core.dim_learner") == {
        ("Ana", "ES"),
        ("Bo", "DK"),
        ("Cy", None),
        ("Dee", "GB"),
        ("Eve", "FR"),
        ("Fay", "FR"),
    }


def test_a_course_belongs_to_the_program_of_the_nearest_category(warehouse):
    courses = "select course_id, course_type, program_id, course_name, language from staging.stg_moodle__courses"
    assert set(warehouse.query(courses)) == {
        (str(ALGEBRA), "degree", "bsc", "Algebra", "es"),
        (str(LOGIC), "degree", "faculty", "Logic", None),
        (str(STAFF_ROOM), "open", None, "Staff room", None),
    }
    programs = "select learner_id, program_id, first_term_id, admitted_on from staging.stg_moodle__program_enrollments"
    assert rows(warehouse, programs) == {
        (name, "bsc", "2025-02", date(2025, 1, 15)) for name in ("Ana", "Bo", "Cy", "Dee", "Eve")
    }


def test_days_are_those_of_the_institution_and_midnight_ends_the_day_before(warehouse):
    offerings = "select course_id, term_id, starts_on, ends_on from core.dim_course_offering"
    assert set(warehouse.query(offerings)) == {
        (str(ALGEBRA), "2025-02", date(2025, 2, 1), date(2025, 3, 31)),
        (str(LOGIC), "2025-02", date(2025, 2, 3), date(2025, 11, 30)),
        (str(STAFF_ROOM), "2025-01", date(2025, 1, 15), None),
    }
    items = "select item_id, kind, is_graded, due_day from core.dim_course_item"
    assert set(warehouse.query(items)) == {
        ("assign-1", "staff_graded", True, 13),
        ("assign-2", "staff_graded", True, None),
        ("quiz-1", "quiz", True, 37),
        ("lesson-1", "quiz", True, None),
        ("forum-1", "discussion", False, None),
        ("url-1", "reading", False, None),
    }


def test_who_left_withdrew_that_day_though_the_row_is_gone(warehouse):
    registrations = (
        "select learner_key, split_part(course_key, ':', -1), registration_number, registered_on, unregistered_on "
        "from core.fct_course_registration"
    )
    algebra, logic = str(ALGEBRA), str(LOGIC)
    assert rows(warehouse, registrations) == {
        ("Ana", algebra, 1, date(2025, 1, 20), None),
        ("Bo", algebra, 1, date(2025, 1, 20), date(2025, 2, 20)),
        ("Cy", algebra, 1, date(2025, 1, 20), date(2025, 2, 8)),
        ("Cy", algebra, 2, date(2025, 2, 15), None),
        ("Dee", algebra, 1, None, date(2025, 2, 11)),
        ("Eve", algebra, 1, date(2025, 1, 20), None),
        ("Eve", logic, 1, date(2025, 1, 21), None),
        ("Fay", algebra, 1, date(2025, 1, 20), None),
    }


def test_a_course_ends_with_its_completion_or_with_the_grade_once_it_is_over(warehouse):
    outcomes = (
        "select learner_key, split_part(course_key, ':', -1), outcome, completed_on, final_grade_share "
        "from core.fct_course_enrollment"
    )
    algebra, logic = str(ALGEBRA), str(LOGIC)
    assert rows(warehouse, outcomes) == {
        ("Ana", algebra, "pass", date(2025, 3, 30), 0.72),
        ("Bo", algebra, "withdrawn", None, None),
        ("Cy", algebra, "fail", None, None),
        ("Dee", algebra, "withdrawn", None, None),
        ("Eve", algebra, "fail", None, 0.31),
        ("Eve", logic, None, None, None),
        ("Fay", algebra, "fail", None, None),
    }


def test_hand_ins_are_what_learners_handed_in_with_the_grade_that_counts(warehouse):
    submissions = (
        "select learner_key, split_part(course_item_key, ':', -1), attempt_number, submitted_on, is_late, graded_by, "
        "score, maximum_score, grade_released_on, is_scored_last from core.fct_submission"
    )
    assert rows(warehouse, submissions) == {
        ("Ana", "assign-1", 1, date(2025, 2, 14), False, "staff", None, 20, date(2025, 3, 3), False),
        ("Ana", "assign-1", 2, date(2025, 2, 20), True, "staff", 16, 20, date(2025, 2, 25), True),
        ("Eve", "assign-1", 1, date(2025, 2, 15), True, "staff", None, 20, None, False),
        ("Ana", "assign-2", 1, date(2025, 3, 1), None, "staff", 3, 4, date(2025, 3, 5), True),
        ("Eve", "assign-2", 1, date(2025, 3, 1), None, "staff", None, 4, None, False),
        ("Ana", "quiz-1", 1, date(2025, 3, 9), False, "staff", 3, 4, date(2025, 3, 12), True),
        ("Eve", "quiz-1", 1, date(2025, 3, 10), False, "automatic", 1, 4, None, True),
        ("Ana", "lesson-1", 1, date(2025, 2, 5), None, "automatic", 80, 100, None, False),
        ("Ana", "lesson-1", 2, date(2025, 2, 6), None, "automatic", 90, 100, None, True),
    }


def test_a_learners_own_due_day_decides_what_is_late(lenient):
    submissions = (
        "select learner_key, split_part(course_item_key, ':', -1) as item, attempt_number, due_on, is_late "
        "from core.fct_submission where item in ('assign-1', 'assign-2', 'quiz-1')"
    )
    assert rows(lenient, submissions) == {
        ("Ana", "assign-1", 1, date(2025, 2, 20), False),
        ("Ana", "assign-1", 2, date(2025, 2, 20), False),
        ("Eve", "assign-1", 1, date(2025, 2, 15), False),
        ("Ana", "assign-2", 1, None, None),
        ("Eve", "assign-2", 1, None, None),
        ("Ana", "quiz-1", 1, date(2025, 3, 10), False),
        ("Eve", "quiz-1", 1, date(2025, 3, 9), True),
    }


def test_the_result_of_a_quiz_is_that_of_its_grading_method(lenient):
    """Three attempts with 3, 1 and 2 of 4 points: of a learner who is asked what they have after each."""
    submissions = (
        "select learner_key, split_part(course_item_key, ':', -1) as item, attempt_number, score, is_scored_last "
        "from core.fct_submission where item in ('quiz-2', 'quiz-3', 'quiz-4', 'quiz-5', 'quiz-6')"
    )
    assert rows(lenient, submissions) == {
        # The best.
        ("Ana", "quiz-2", 1, 3, True),
        ("Ana", "quiz-2", 2, None, False),
        ("Ana", "quiz-2", 3, None, False),
        # The average: 3, (3 + 1) / 2, (3 + 1 + 2) / 3.
        ("Ana", "quiz-3", 1, 3, False),
        ("Ana", "quiz-3", 2, 2, False),
        ("Ana", "quiz-3", 3, 2, True),
        # The first.
        ("Ana", "quiz-4", 1, 3, True),
        ("Ana", "quiz-4", 2, None, False),
        ("Ana", "quiz-4", 3, None, False),
        # The last.
        ("Ana", "quiz-5", 1, 3, False),
        ("Ana", "quiz-5", 2, 1, False),
        ("Ana", "quiz-5", 3, 2, True),
        # As told: 3.75 of 10 are 1.5 of 4 points.
        ("Ana", "quiz-6", 1, 1.5, True),
        ("Ana", "quiz-6", 2, None, False),
        ("Ana", "quiz-6", 3, None, False),
    }


def test_marks_name_their_grader(warehouse):
    marks = "select learner_id, mark_id, grader_id, score, maximum_score from staging.stg_moodle__submission_marks"
    found = {(name, mark, warehouse.people[grader], *more) for name, mark, grader, *more in rows(warehouse, marks)}
    assert found == {
        ("Ana", "1", "Tutor", 8, 20),
        ("Ana", "2", "Tutor", 16, 20),
        ("Ana", "4", "Tutor", 3, 4),
    }
    assert warehouse.query("select count(*) from core.fct_submission_mark") == [(3,)]


def test_answers_have_the_last_mark_of_their_wording(warehouse):
    answers = (
        "select learner_id, question_id, question_version, item_id, attempt_number, round(score, 3), maximum_score "
        "from staging.stg_moodle__responses"
    )
    assert rows(warehouse, answers) == {
        ("Ana", "31", 1, "quiz-1", 1, 1.0, 1),
        ("Ana", "32", 1, "quiz-1", 1, 2.0, 3),
        ("Eve", "31", 2, "quiz-1", 1, 0.0, 1),
        ("Eve", "32", 1, "quiz-1", 1, 0.0, 3),
    }
    assert warehouse.query("select count(*) from core.fct_response") == [(4,)]


def test_days_of_activity_count_posts_once_and_what_others_did_not_at_all(warehouse):
    days = (
        "select learner_key, activity_on, event_count, task_count, forum_view_count, forum_thread_count, "
        "forum_reply_count from core.fct_daily_activity"
    )
    assert rows(warehouse, days) == {
        ("Ana", date(2025, 2, 3), 3, 1, 0, 0, 0),
        ("Ana", date(2025, 2, 5), 1, 0, 0, 1, 0),
        ("Eve", date(2025, 2, 6), 2, 0, 1, 0, 1),
        ("Eve", date(2025, 3, 10), 1, 0, 0, 0, 0),
    }
    # The teacher's post and visit.
    held = "select sum(event_count) from intermediate.int_events_resolved where is_held"
    assert warehouse.query(held) == [(2,)]


def test_text_of_posts_and_names_are_nowhere_in_raw(warehouse):
    names = warehouse.query(
        "select column_name from information_schema.columns where table_schema = 'raw_moodle' "
        "and column_name in ('subject', 'message', 'firstname', 'lastname', 'email')"
    )
    assert names == []


def test_without_categories_the_site_is_one_program_and_courses_are_runs_as_the_institution_says(bare):
    programs = "select program_id, program_name, program_type from staging.stg_moodle__programs"
    assert bare.query(programs) == [("university", "All courses", "university")]
    courses = "select course_id, course_name, course_type, program_id from staging.stg_moodle__courses"
    # The name is that of the run that began last.
    assert set(bare.query(courses)) == {
        ("MATH", "Logic", "module", "university"),
        (str(STAFF_ROOM), "Staff room", "module", "university"),
    }
    # Days are those of UTC, an hour behind: what begins at midnight in Madrid begins the day before.
    offerings = "select course_id, term_id, version_id, starts_on from staging.stg_moodle__course_offerings"
    assert set(bare.query(offerings)) == {
        ("MATH", "spring", str(ALGEBRA), date(2025, 1, 31)),
        ("MATH", "summer", str(LOGIC), date(2025, 2, 2)),
        (str(STAFF_ROOM), "2025-01", str(STAFF_ROOM), date(2025, 1, 14)),
    }


def test_without_contexts_the_way_to_enrol_tells_the_role_and_without_a_log_nobody_is_seen_to_leave(bare):
    enrollments = (
        "select learner_id, course_id, term_id, registration_number, unregistered_on, outcome "
        "from staging.stg_moodle__course_enrollments"
    )
    assert rows(bare, enrollments) == {
        ("Ana", "MATH", "spring", 1, None, "pass"),
        # Suspended at half past midnight in Madrid.
        ("Bo", "MATH", "spring", 1, date(2025, 2, 19), "withdrawn"),
        ("Cy", "MATH", "spring", 1, None, "fail"),
        ("Eve", "MATH", "spring", 1, None, "fail"),
        ("Eve", "MATH", "summer", 1, None, None),
        # Nothing tells that they teach.
        ("Tutor", "MATH", "spring", 1, None, "fail"),
        ("Tutor", str(STAFF_ROOM), "2025-01", 1, None, None),
    }


def test_without_a_log_posts_alone_are_events_and_items_are_those_of_the_tables(bare):
    events = "select learner_id, item_id, event_type, occurred_on from staging.stg_moodle__events"
    assert rows(bare, events) == {
        ("Ana", "forum-1", "forum_thread", date(2025, 2, 4)),
        ("Tutor", "forum-1", "forum_reply", date(2025, 2, 5)),
        ("Eve", "forum-1", "forum_reply", date(2025, 2, 6)),
    }
    items = "select item_id, is_logged from staging.stg_moodle__course_items"
    assert set(bare.query(items)) == {
        ("assign-1", False),
        ("assign-2", False),
        ("quiz-1", False),
        ("lesson-1", False),
        ("forum-1", True),
    }
