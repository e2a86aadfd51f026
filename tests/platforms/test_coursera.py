"""A partner's export of Coursera: rows written by hand, and the faked course of crsra (its values are shuffled)."""

import csv
import io
import os
import zipfile
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY
from tests.platforms.delivery import Delivery, write_csv

FAKE = Path(
    os.environ.get("COURSERA_EXPORT") or REPOSITORY.parent / "shared/data/coursera_export/fake_course_7051862327916.zip"
)

# Ana was in the spring session, went on to the summer one, passes and pays. Bo leaves. Cy had no session and has not
# ended. Di only looks around. Eve fails: her session is over. Mo mentors.
LINKED = {
    "users": """
        uni_user_id user_join_ts country_cd reported_or_inferred_gender employment_status educational_attainment
        ana 2023-11-01T08:00:00 PE female - -
        bo 2023-12-01T08:00:00 IN male - -
        cy 2023-12-01T08:00:00 - - - -
        eve 2023-12-01T08:00:00 NG female - -
    """,
    "courses": """
        course_id course_name course_level
        C1 Statistics BEGINNER
    """,
    "course_memberships": """
        uni_user_id course_id course_membership_role course_membership_ts
        ana C1 PRE_ENROLLED_LEARNER 2023-12-20T08:00:00
        ana C1 LEARNER 2024-01-01T08:00:00
        ana C1 LEARNER 2024-05-20T08:00:00
        bo C1 LEARNER 2024-01-02T08:00:00
        bo C1 NOT_ENROLLED 2024-02-01T09:30:00
        cy C1 LEARNER 2024-03-01T08:00:00
        di C1 BROWSER 2024-03-01T08:00:00
        eve C1 LEARNER 2024-01-03T08:00:00
        mo C1 MENTOR 2024-01-03T08:00:00
    """,
    "on_demand_sessions": """
        course_id on_demand_session_id on_demand_sessions_start_ts on_demand_sessions_end_ts course_branch_id
        C1 spring 2024-01-08T00:00:00 2024-02-19T07:59:59 v1
        C1 summer 2024-06-03T00:00:00 2024-07-15T07:59:59 v2
        C1 wrong 2024-06-03T00:00:00 2024-01-15T07:59:59 v2
    """,
    "on_demand_session_memberships": """
        course_id on_demand_session_id uni_user_id on_demand_sessions_membership_start_ts \
on_demand_sessions_membership_end_ts
        C1 spring ana 2024-01-01T08:00:00 2024-05-20T08:00:00
        C1 summer ana 2024-05-20T08:00:00 -
        C1 spring bo 2024-01-02T08:00:00 2024-02-01T09:30:00
        C1 spring eve 2024-01-03T08:00:00 -
    """,
    "users_courses__certificate_payments": """
        uni_user_id course_id met_payment_condition was_payment was_finaid_grant was_group_sponsored
        ana C1 t f t f
        bo C1 f f f t
    """,
    "course_progress": """
        course_id course_item_id uni_user_id course_progress_state_type_id course_progress_ts
        C1 vid ana 1 2024-06-04T10:00:00
        C1 vid ana 2 2024-06-04T10:20:00
        C1 vid di 1 2024-03-02T10:00:00
        C1 quiz cy 1 2024-08-01T23:30:00
    """,
    "course_grades": """
        course_id uni_user_id course_grade_ts course_passing_state_id course_grade_overall
        C1 ana 2024-07-01T12:00:00 2 0.9
        C1 eve 2024-02-10T12:00:00 0 0.4
    """,
    "course_item_grades": """
        course_id course_item_id uni_user_id course_item_grade_ts course_item_passing_state_id course_item_grade_overall
        C1 quiz ana 2024-06-10T12:05:00 2 0.75
        C1 essay eve 2024-02-09T12:00:00 0 0.3
    """,
    "course_branches": """
        course_id course_branch_id
        C1 v1
        C1 v2
    """,
    "course_branch_modules": """
        course_branch_id course_module_id course_branch_module_order
        v2 m0 0
        v2 m1 1
    """,
    "course_branch_lessons": """
        course_branch_id course_lesson_id course_module_id course_branch_lesson_order
        v2 l0 m0 0
        v2 l1 m1 0
    """,
    "course_branch_items": """
        course_branch_id course_item_id course_lesson_id course_branch_item_order course_item_type_id \
course_branch_item_name course_branch_item_optional is_graded course_branch_item_lecture_duration_ms \
item_weight_in_course_branch_percentage
        v2 vid l0 0 3 Welcome f f 90000 -
        v2 quiz l0 1 11 Check f t - 40
        v2 peer l1 0 8 Report f t - 60
        v2 essay l1 1 4 Essay f t - -
        v2 drill l1 2 11 Drill f f - -
    """,
    "course_item_types": """
        course_item_type_id course_item_type_desc course_item_type_category course_item_type_graded
        3 lecture lecture f
        4 staffGraded staffGraded t
        8 gradedPeer peer t
        11 quiz quiz t
    """,
    "course_branch_item_assessments": """
        course_branch_id course_item_id assessment_id
        v2 quiz A@1
    """,
    "assessment_actions": """
        assessment_action_id assessment_id assessment_action_ts guest_user_id uni_assessments_user_id
        a1 A@1 2024-06-09T12:00:00 - ana
        a2 A@1 2024-06-10T12:00:00 - ana
        a3 A@1 2024-06-11T12:00:00 visitor -
    """,
    "assessment_responses": """
        assessment_response_id assessment_id assessment_action_id assessment_question_id assessment_response_score \
assessment_response_weighted_score
        r1 A@1 a1 Q1@1 0 0
        r2 A@1 a1 Q2@1 0 0
        r3 A@1 a2 Q1@1 1 1
        r4 A@1 a2 Q2@2 0.5 1
        r5 A@1 a2 survey@1 - -
        r6 A@1 a3 Q1@1 1 1
    """,
    "assessment_assessments_questions": """
        assessment_id assessment_question_id assessment_question_weight
        A@1 Q1@1 -
        A@1 Q2@1 2
        A@1 Q2@2 2
    """,
    "course_branch_item_peer_assignments": """
        course_branch_id course_item_id peer_assignment_id
        v2 peer P@3
    """,
    "peer_assignments": """
        peer_assignment_id peer_assignment_maximum_score
        P@3 10
    """,
    "peer_submissions": """
        peer_submission_id peer_assignment_id uni_peer_assignments_user_id peer_submission_created_ts \
peer_submission_is_draft peer_submission_score_available_ts peer_submission_score peer_submission_is_mentor_graded
        s1 P@3 ana 2024-06-20T12:00:00 f 2024-06-25T12:00:00 7 f
        s2 P@3 ana 2024-06-19T12:00:00 t - - f
    """,
    "peer_reviews": """
        peer_review_id peer_submission_id uni_peer_assignments_user_id peer_review_created_ts \
peer_review_is_mentor_review
        w1 s1 eve 2024-06-22T12:00:00 f
        w2 s1 mo 2024-06-23T12:00:00 t
    """,
    "peer_review_part_choices": """
        peer_assignment_id peer_assignment_review_schema_part_id peer_assignment_review_schema_part_option_id \
peer_review_id
        P@3 part1 good w1
        P@3 part2 fair w1
        P@3 part1 fair w2
    """,
    "peer_assignment_review_schema_part_options": """
        peer_assignment_id peer_assignment_review_schema_part_id peer_assignment_review_schema_part_option_id \
peer_assignment_review_schema_part_option_score
        P@3 part1 good 5
        P@3 part1 fair 3
        P@3 part2 fair 3
    """,
    "discussion_questions": """
        discussion_question_id uni_discussions_user_id course_id discussion_question_created_ts
        d1 ana C1 2024-06-05T10:00:00
    """,
}


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    folder = tmp_path_factory.mktemp("linked")
    write_csv(folder / "landing", {name: text.replace("\\\n", "") for name, text in LINKED.items()})
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
    write_csv(tmp_path / "landing", {name: text.replace("\\\n", "") for name, text in LINKED.items()})
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
    tables = {name: text.replace("\\\n", "") for name, text in LINKED.items()}
    tables["assessment_actions"] = tables["assessment_actions"].replace(" ana\n", " 5f3e\n")
    write_csv(tmp_path / "landing", tables)
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
