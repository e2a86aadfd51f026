"""A partner's export of Coursera: rows written by hand, and the faked course of crsra (its values are shuffled)."""

import csv
import io
import os
import zipfile
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY
from tests.platforms.delivery import Delivery
from tests.platforms.written_coursera import ROWS, write

FAKE = Path(
    os.environ.get("COURSERA_EXPORT") or REPOSITORY.parent / "shared/data/coursera_export/fake_course_7051862327916.zip"
)


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    folder = tmp_path_factory.mktemp("linked")
    write(folder / "landing", ROWS)
    return Delivery("coursera", folder / "landing", folder / "home")


def test_every_row_is_loaded_and_every_test_of_staging_passes(linked):
    assert {name: load.refused for name, load in linked.loads.items() if load.refused} == {}
    assert linked.loads["course_memberships"].accepted == 9
    assert linked.failures == linked.warnings == []


def test_learners_are_those_who_learn_and_those_in_the_scope_of_the_export(linked):
    found = linked.rows("learners", "learner_id", "country", "gender")
    people = {"ana": ("PE", "female"), "bo": ("IN", "male"), "cy": (None, None), "eve": ("NG", "female")}
    assert found == sorted((linked.person(name), *rest) for name, rest in people.items())


def test_an_enrollment_is_in_the_last_session_and_ends_as_the_grade_or_the_session_says(linked):
    columns = ("learner_id", "term_id", "registered_at", "unregistered_on", "completed_on", "is_paid", "outcome")
    found = linked.rows("course_enrollments", *columns, "final_grade_share", "previous_attempt_count")
    person = linked.person
    assert found == sorted(
        [
            # Data end on 1 August: spring is over, and whoever is in it without having passed has failed.
            (person("ana"), "summer", "2024-01-01 08:00:00", None, "2024-07-01", True, "pass", 0.9, 1),
            (person("bo"), "spring", "2024-01-02 08:00:00", "2024-02-01", None, False, "withdrawn", None, 0),
            (person("cy"), "open", "2024-03-01 08:00:00", None, None, False, None, None, None),
            (person("eve"), "spring", "2024-01-03 08:00:00", None, None, False, "fail", 0.4, 0),
        ]
    )


def test_sessions_are_offerings_of_a_version(linked):
    assert linked.rows("course_offerings", "term_id", "version_id", "starts_on", "ends_on") == [
        ("open", "v2", "2023-12-20", None),
        ("spring", "v1", "2024-01-08", "2024-02-19"),
        ("summer", "v2", "2024-06-03", "2024-07-15"),
        ("wrong", "v2", "2024-06-03", None),
    ]


def test_items_have_their_week_their_order_and_their_kind(linked):
    columns = ("item_id", "kind", "first_week", "position", "is_graded", "weight_share", "planned_minutes")
    assert linked.rows("course_items", *columns) == [
        ("drill", "practice", 2, 5, False, None, None),
        ("essay", "staff_graded", 2, 4, True, None, None),
        ("peer", "peer_graded", 2, 3, True, 0.6, None),
        ("quiz", "quiz", 1, 2, True, 0.4, None),
        ("vid", "video", 1, 1, False, None, 1.5),
    ]


def test_hand_ins_have_the_weighted_score_of_their_answers_or_the_grade_of_the_item(linked):
    columns = ("item_id", "learner_id", "attempt_number", "submitted_at", "score", "maximum_score", "graded_by")
    assert linked.rows("submissions", *columns) == [
        ("essay", linked.person("eve"), 1, "2024-02-09 12:00:00", 0.3, 1.0, "staff"),
        ("peer", linked.person("ana"), 1, "2024-06-20 12:00:00", 7.0, 10.0, "peer"),
        ("quiz", linked.person("ana"), 1, "2024-06-09 12:00:00", 0.0, 3.0, "automatic"),
        ("quiz", linked.person("ana"), 2, "2024-06-10 12:00:00", 1 * 1 + 0.5 * 2, 3.0, "automatic"),
    ]


def test_answers_are_of_a_version_of_their_question(linked):
    assert linked.rows("responses", "question_id", "question_version", "attempt_number", "answered_at", "score") == [
        ("Q1", 1, 1, "2024-06-09 12:00:00", 0.0),
        ("Q1", 1, 2, "2024-06-10 12:00:00", 1.0),
        ("Q2", 1, 1, "2024-06-09 12:00:00", 0.0),
        ("Q2", 2, 1, "2024-06-10 12:00:00", 0.5),
    ]
    assert linked.rows("questions", "question_id", "question_version", "item_id") == [
        ("Q1", 1, "quiz"),
        ("Q2", 1, "quiz"),
        ("Q2", 2, "quiz"),
        ("survey", 1, "quiz"),
    ]


def test_a_review_has_the_points_of_what_was_chosen(linked):
    assert linked.rows("submission_marks", "mark_id", "graded_by", "grader_id", "score", "maximum_score") == [
        ("w1", "peer", linked.person("eve"), 5.0 + 3.0, 10.0),
        ("w2", "staff", linked.person("mo"), 3.0, 10.0),
    ]


def test_events_are_of_the_session_of_their_learner(linked):
    assert linked.rows("events", "event_type", "term_id", "item_id", "occurred_on") == [
        ("forum_thread", "summer", None, "2024-06-05"),
        ("item_completed", "summer", "vid", "2024-06-04"),
        ("item_started", "open", "quiz", "2024-08-01"),
        ("item_started", "open", "vid", "2024-03-02"),  # by somebody who is not enrolled: core holds it back
        ("item_started", "summer", "vid", "2024-06-04"),
    ]


def test_a_course_that_is_passed_and_paid_for_has_a_certificate(linked):
    assert linked.rows("credentials", "learner_id", "kind", "issued_on") == [
        (linked.person("ana"), "course_certificate", "2024-07-01")
    ]


def test_texts_with_quotes_behind_backslashes_stay_one_field(tmp_path):
    """Coursera escapes a quote by a backslash; what is not read must not shift what is."""
    write(tmp_path / "landing", ROWS)
    (tmp_path / "landing" / "discussion_answers.csv").write_text(
        "discussion_answer_id,uni_discussions_user_id,course_id,discussion_answer_content,"
        "discussion_answer_created_ts\n"
        '"d2","bo","C1","{\\"typeName\\":\\"cml\\", \n and a second line}","2024-01-20 10:00:00"\n'
    )
    delivery = Delivery("coursera", tmp_path / "landing", tmp_path / "home")
    assert delivery.loads["discussion_answers"].accepted == 1
    found = delivery.rows("events", "learner_id", "occurred_at", where="event_type = 'forum_reply'")
    assert found == [(delivery.person("bo"), "2024-01-20 10:00:00")]


def test_an_export_with_isolated_hashes_says_what_cannot_be_joined(tmp_path):
    """Quizzes name learners by hashes of their own there; peer review and forums are linked in this one."""
    tables = dict(ROWS)
    tables["assessment_actions"] = tables["assessment_actions"].replace(" ana\n", " 5f3e\n")
    write(tmp_path / "landing", tables)
    delivery = Delivery("coursera", tmp_path / "landing", tmp_path / "home")
    assert delivery.failures == []
    (told,) = delivery.warnings
    assert told.startswith("assert_coursera_domains_are_linked: Got 1 result")
    assert {learner for (learner,) in delivery.rows("responses", "learner_id")} == {delivery.person("5f3e")}


@pytest.mark.skipif(not FAKE.exists(), reason=f"no faked export at {FAKE}; COURSERA_EXPORT names one")
def test_the_faked_course_gives_what_its_files_say(tmp_path):
    """Its authors shuffled columns apart and put texts into columns of times: eight rows cannot be read."""
    delivery = Delivery("coursera", FAKE, tmp_path / "home")
    assert delivery.failures == []
    refused = {name: load.refused for name, load in delivery.loads.items() if load.refused}
    assert refused == {"peer_submissions": 3, "discussion_questions": 3, "discussion_answers": 2}
    with zipfile.ZipFile(FAKE) as archive:
        files = {Path(name).stem: name for name in archive.namelist() if name.endswith(".csv")}

        def read(table: str) -> list[dict]:
            return list(csv.DictReader(io.StringIO(archive.read(files[table]).decode())))

        memberships, progress, users = read("course_memberships"), read("course_progress"), read("users")
        items, actions, answers = read("course_branch_items"), read("assessment_actions"), read("assessment_responses")
        sessions, payments, passed = (
            read("on_demand_sessions"), read("users_courses__certificate_payments"), read("course_grades")
        )  # fmt: skip
    learners = {row["jhu_user_id"] for row in memberships if row["course_membership_role"] == "LEARNER"}
    figures = {
        "learners": (len(learners | {row["jhu_user_id"] for row in users}), "select count(*) from {learners}"),
        "enrollments": (len(learners), "select count(*) from {course_enrollments}"),
        "passed": (
            len({row["jhu_user_id"] for row in passed if row["course_passing_state_id"].strip() in "12"} & learners),
            "select count(*) from {course_enrollments} where outcome = 'pass'",
        ),
        "paid": (
            len(
                {row["jhu_user_id"] for row in payments if "t" in (row["was_payment"], row["was_finaid_grant"])}
                & learners
            ),
            "select count(*) from {course_enrollments} where is_paid",
        ),
        "offerings": (len(sessions) + 1, "select count(*) from {course_offerings}"),
        "items of the first version": (
            len({row["course_item_id"] for row in items if row["course_branch_id"] == "qsmzmVew"}),
            "select count(*) from {course_items} where version_id = 'qsmzmVew'",
        ),
        "events of progress": (len(progress), "select count(*) from {events} where event_type like 'item%'"),
        "completed items": (
            sum(row["course_progress_state_type_id"].strip() == "2" for row in progress),
            "select count(*) from {events} where event_type = 'item_completed'",
        ),
        "days with progress": (
            len({row["course_progress_ts"][:10] for row in progress}),
            "select count(distinct occurred_on) from {events} where event_type like 'item%'",
        ),
        "scored answers": (
            sum(
                row["assessment_action_id"] in {action["assessment_action_id"] for action in actions
                                                if action["jhu_user_id"] != "NA"}
                and row["assessment_response_score"] != "NA"
                for row in answers
            ),
            "select count(*) from {responses}",
        ),
    }  # fmt: skip
    entities = {entity: f"staging.stg_coursera__{entity}" for entity in (
        "learners", "course_enrollments", "course_offerings", "course_items", "events", "responses"
    )}  # fmt: skip
    found = {name: delivery.query(query.format(**entities))[0][0] for name, (_, query) in figures.items()}
    assert found == {name: expected for name, (expected, _) in figures.items()}
