"""A partner's export of Coursera by hand: rows of tables, the first line their columns, values between blanks."""

import csv
import gzip
import io
import json
from pathlib import Path

from tests.platforms.delivery import write_csv

# Ana was in the spring session, went on to the summer one, passes and pays. Bo leaves. Cy had no session and has not
# ended. Di only looks around. Eve fails: her session is over. Mo mentors.
ROWS = {
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

# What the export above leaves out: a degree program, a course without versions, programs that are handed in, a reply.
MORE = {
    "users": """
        uni_user_id user_join_ts country_cd reported_or_inferred_gender employment_status educational_attainment
        fay 2023-11-01T08:00:00 PE female EMPLOYED BACHELOR
    """,
    "course_memberships": """
        uni_user_id course_id course_membership_role course_membership_ts
        fay C2 LEARNER 2024-01-01T08:00:00
    """,
    "users_courses__degree_program_memberships": """
        uni_user_id course_id degree_program_id degree_program_name
        fay C2 D1 Master
    """,
    "course_modules": """
        course_id course_module_id course_module_order
        C2 n0 0
    """,
    "course_lessons": """
        course_id course_lesson_id course_module_id course_lesson_order
        C2 k0 n0 0
    """,
    "course_items": """
        course_id course_item_id course_lesson_id course_item_order course_item_type_id course_item_name
        C2 prog k0 0 9 Program
    """,
    "course_item_types": """
        course_item_type_id course_item_type_desc course_item_type_category course_item_type_graded
        9 gradedProgramming programming t
    """,
    "course_branch_items": """
        course_branch_id course_item_id course_lesson_id course_branch_item_order course_item_type_id \
course_branch_item_name course_branch_item_optional is_graded course_branch_item_lecture_duration_ms \
global_item_time_commitment item_weight_in_course_branch_percentage
        v1 text l9 0 3 Text f f - 12.5 -
    """,
    "course_item_assessments": """
        course_id course_item_id assessment_id
        C2 prog B@1
    """,
    "course_item_peer_assignments": """
        course_id course_item_id peer_assignment_id
        C2 prog P@9
    """,
    "course_item_programming_assignments": """
        course_id course_item_id programming_assignment_id
        C2 prog G@1
    """,
    "course_branch_item_programming_assignments": """
        course_branch_id course_item_id programming_assignment_id
        v1 text G@2
    """,
    "programming_submissions": """
        programming_submission_id programming_assignment_id uni_programming_assignments_user_id \
programming_submission_created_ts programming_submission_score
        g1 G@1 fay 2024-02-01T12:00:00 85
    """,
    "discussion_answers": """
        discussion_answer_id uni_discussions_user_id course_id discussion_answer_created_ts
        d2 bo C1 2024-01-20T10:00:00
    """,
}


def write(folder: Path, tables: dict[str, str]) -> None:
    """The tables as the export has them: a comma between fields."""
    write_csv(folder, {name: text.replace("\\\n", "") for name, text in tables.items()})


def click(person: str, moment: str, url: str, key: str, value: dict | str) -> str:
    """A line with the sixteen fields of the clickstream, quotes behind backslashes."""
    text = value if isinstance(value, str) else json.dumps({"module_id": "m0", "video_name": 'The "mean"', **value})
    out = io.StringIO()
    writer = csv.writer(out, escapechar="\\", doublequote=False, quoting=csv.QUOTE_ALL, lineterminator="\n")
    places = ["es", "C1", "PE", "LIM", "America/Lima", "Linux", "Firefox"]
    writer.writerow(
        [person, "cookie-1", moment, "ip-1", "Mozilla/5.0 secret", url, "https://from.example/", *places, key, text]
    )
    return out.getvalue()


def pack(path: Path, lines: list[str]) -> None:
    """A file of the clickstream: gzipped, without header."""
    path.write_bytes(gzip.compress("".join(lines).encode()))


def write_clicks(folder: Path) -> None:
    """One day of the clickstream: a viewing of a minute, and a page."""
    address = "https://www.coursera.org/learn/statistics/lecture/aB3dE/welcome"
    clicks = [
        click("ana", f"2024-06-06 10:00:{second:02}", address, key, {"item_id": "vid", "timecode": second, **more})
        for second, key, more in [
            (0, "start", {}),
            (5, "heartbeat", {"playback_rate": 1}),
            (10, "heartbeat", {"playback_rate": 1}),
            (11, "seek", {}),
            (12, "pause", {}),
        ]
    ]
    pack(
        folder / "clickstream-2024-06-06.csv.gz",
        [*clicks, click("eve", "2024-06-06 11:00:00", address, "pageview", {})],
    )


def with_more() -> dict[str, str]:
    """All rows; a table that has more of them by all its columns."""
    tables = dict(ROWS)
    for name, text in MORE.items():
        header, *rows = [line for line in text.replace("\\\n", "").strip().splitlines() if line.strip()]
        there = tables.get(name, header).replace("\\\n", "").strip().splitlines()
        known = there[0].split()
        missing = [column for column in header.split() if column not in known]
        lines = [" ".join([*known, *missing])] + [f"{line} {' '.join('-' * len(missing))}" for line in there[1:]]
        for row in rows:
            values = dict(zip(header.split(), row.split(), strict=True))
            lines.append(" ".join(values.get(column, "-") for column in (*known, *missing)))
        tables[name] = "\n".join(lines)
    return tables
