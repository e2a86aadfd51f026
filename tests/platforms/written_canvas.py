"""Records of Canvas Data 2 by hand: first ones, and what changed later."""

import gzip
import json
from pathlib import Path

TERM = {"name": "Fall", "start_at": "2024-09-02T05:00:00Z", "end_at": "2024-12-20T05:00:00Z"}
COURSE = {
    "name": "Biology",
    "enrollment_term_id": 1,
    "start_at": None,
    "conclude_at": None,
    "workflow_state": "available",
}
GONE = {"workflow_state": "deleted", "start_at": TERM["start_at"], "conclude_at": TERM["end_at"]}
TEST = {"position": 1, "context_id": 7, "points_possible": 30, "peer_reviews": False, "workflow_state": "published"}


def record(number: int, action: str = "U", **value: object) -> dict:
    """A record as DAP writes it; of what was deleted it tells nothing else."""
    whole = {"key": {"id": number}, "meta": {"ts": "2024-12-31T00:00:00Z", "action": action}}
    return whole | ({"value": value} if action == "U" else {})


def student(number: int, user: int, state: str = "active", **value: object) -> dict:
    made = {"user_id": user, "course_id": 7, "type": "StudentEnrollment", "workflow_state": state}
    return record(number, **made | {"created_at": "2024-08-20T10:00:00Z", "updated_at": "2024-08-20T10:00:00Z"} | value)


# Users 1 and 2 take the course to its end, 3 leaves, 4 teaches, 5 was invited only. Assignment 12 is deleted later.
FIRST = {
    "users": [record(n, name=f"Name {n}", created_at="2024-08-01T08:00:00Z") for n in range(1, 6)],
    "enrollment_terms": [record(1, **TERM)],
    "courses": [record(7, **COURSE), record(8, **COURSE | GONE)],
    "enrollments": [
        student(1, 1),
        student(2, 2),
        student(3, 3),
        record(4, user_id=4, course_id=7, type="TeacherEnrollment", workflow_state="active", created_at=None),
        student(5, 5, "invited"),
        student(9, 2, course_id=99),  # of a course that was not delivered
    ],
    "assignments": [
        record(10, **TEST | {"title": "Test", "submission_types": "online_quiz", "due_at": "2024-09-12T04:59:59Z"}),
        record(11, **TEST | {"title": "Essay", "submission_types": "online_upload", "points_possible": 70}),
        record(12, **TEST | {"title": "Gone", "submission_types": "none"}),
    ],
    "submissions": [
        record(
            20, assignment_id=10, user_id=1, attempt=2, submitted_at="2024-09-11T20:00:00Z", score=24.0, grader_id=-3,
            graded_at="2024-09-11T20:00:05Z", posted_at=None, excused=False, workflow_state="graded",
        ),
        record(
            21, assignment_id=11, user_id=1, attempt=1, submitted_at="2024-10-01T20:00:00Z", score=None, grader_id=None,
            graded_at=None, posted_at=None, excused=None, workflow_state="submitted",
        ),
        record(22, assignment_id=11, user_id=2, attempt=None, submitted_at=None, workflow_state="unsubmitted"),
    ],
    "web_logs": [
        record(
            900, timestamp="2024-09-03T10:00:00.123Z", user_id=1, course_id=7, web_application_controller="assignments"
        ),
        record(
            901, timestamp="2024-09-03T10:05:00Z", user_id=None, course_id=7, web_application_controller="courses",
            web_application_context_type="Course",
        ),
        record(
            902, timestamp="2024-09-03T10:06:00Z", user_id=2, course_id=7,
            web_application_controller="discussion_topics",
        ),
        record(904, timestamp="2024-09-03T10:08:00Z", user_id=2, course_id=99, web_application_controller="courses"),
        record(903, timestamp="2024-09-03T10:07:00Z", user_id=2, course_id=None, web_application_controller="profile"),
    ],
}  # fmt: skip
# The term is over: 1 has 80 percent, 2 has 40; 3 left in September; the essay is graded and seen a day later.
LATER = {
    "enrollments": [
        student(1, 1, "completed", completed_at="2024-12-21T09:00:00Z"),
        student(2, 2, "completed", completed_at="2024-12-21T09:00:00Z"),
        student(3, 3, "deleted", updated_at="2024-09-20T12:00:00Z"),
    ],
    "scores": [
        record(31, enrollment_id=1, course_score=True, final_score=80.0, workflow_state="active"),
        record(32, enrollment_id=2, course_score=True, final_score=40.0, workflow_state="active"),
        record(33, enrollment_id=2, course_score=False, final_score=99.0, workflow_state="active"),
    ],
    "assignments": [record(12, "D")],
    "submissions": [
        record(
            21, assignment_id=11, user_id=1, attempt=1, submitted_at="2024-10-01T20:00:00Z", score=56.0, grader_id=4,
            graded_at="2024-10-07T20:00:00Z", posted_at="2024-10-08T20:00:00Z", excused=False, workflow_state="graded",
        )
    ],
}  # fmt: skip


def write(folder: Path, tables: dict[str, list[dict]], part: str) -> None:
    for table, records in tables.items():
        (folder / table).mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(one) + "\n" for one in records)
        (folder / table / f"{part}.json.gz").write_bytes(gzip.compress(lines.encode()))


def write_both(folder: Path) -> None:
    """The first delivery, the later one, and what the institution says of itself."""
    write(folder, FIRST, "2024-09-15-part-00000")
    write(folder, LATER, "2025-01-02-part-00000")
    (folder / "institution.csv").write_text(
        "institution_id,institution_name,time_zone,passing_share\nuni,Uni,America/Chicago,0.5\n"
    )
