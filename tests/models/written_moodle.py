"""A delivery of a real Moodle by hand: integer ids, unix times, a log store. What is special stands at its row."""

import csv
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from dagster_project.settings import REPOSITORY

CONTRACT = REPOSITORY / "dbt/models/staging/moodle/_moodle__sources.yml"

HEADERS = {
    "user": "id firstname lastname email country timecreated firstaccess",
    "course": "id category fullname shortname startdate enddate timecreated lang",
    "course_categories": "id name path",
    "program_categories": "category_id program_id program_name level",
    "program_members": "userid program_id admitted_on",
    "institution": "institution_id institution_name time_zone passing_share",
    "enrol": "id enrol courseid roleid",
    "user_enrolments": "id status enrolid userid timestart timeend timecreated timemodified",
    "role": "id name shortname archetype",
    "role_assignments": "id roleid contextid userid",
    "context": "id contextlevel instanceid",
    "modules": "id name",
    "course_modules": "id course module instance",
    "assign": "id course name duedate grade",
    "assign_submission": "id assignment userid groupid status attemptnumber latest timemodified",
    "groups_members": "id groupid userid",
    "assign_grades": "id assignment userid attemptnumber grader grade timecreated timemodified",
    "quiz": "id course name timeclose sumgrades grade",
    "quiz_attempts": "id quiz userid attempt uniqueid preview state timefinish sumgrades",
    "question_attempts": "id questionusageid questionid maxmark",
    "question_attempt_steps": "id questionattemptid sequencenumber state fraction timecreated",
    "question_versions": "id questionbankentryid version questionid",
    "lesson": "id course name practice grade deadline",
    "lesson_grades": "id lessonid userid grade completed",
    "forum": "id course name",
    "forum_discussions": "id course forum",
    "forum_posts": "id discussion userid created subject message",
    "grade_items": "id courseid itemtype itemmodule iteminstance grademax gradepass",
    "grade_grades": "id itemid userid finalgrade timemodified",
    "course_completions": "id userid course timecompleted",
    "course_modules_completion": "id coursemoduleid userid completionstate timemodified",
    "logstore_standard_log": (
        "id component action target objecttable objectid contextlevel contextinstanceid userid courseid relateduserid "
        "realuserid origin timecreated"
    ),
}
BY_THE_INSTITUTION = ("program_categories", "program_members", "institution")
ALGEBRA, LOGIC, STAFF_ROOM = 11, 12, 13
ANA, BO, CY, DEE, EVE, FAY, TEACHER, ADMIN = 101, 102, 103, 104, 105, 106, 201, 2
STUDENT, EDITING_TEACHER = 5, 3


def at(text: str) -> int:
    """Unix seconds of a time in Madrid, an hour or two ahead of UTC."""
    return int(datetime.fromisoformat(f"2025-{text}").replace(tzinfo=ZoneInfo("Europe/Madrid")).timestamp())


BEFORE = at("01-10T09:00")
ROWS: dict[str, list[tuple]] = {
    "user": [
        (ANA, "Ana", "Ruiz", "ana@example.org", "ES", BEFORE, 0),
        (BO, "Bo", "Lund", "bo@example.org", "DK", BEFORE, 0),
        (CY, "Cy", "Oak", "cy@example.org", "", 0, BEFORE),
        (DEE, "Dee", "Fox", "dee@example.org", "GB", BEFORE, 0),
        (EVE, "Eve", "May", "eve@example.org", "FR", BEFORE, 0),
        (FAY, "Fay", "Sun", "fay@example.org", "FR", BEFORE, 0),
        (TEACHER, "Tom", "Tutor", "tom@example.org", "ES", BEFORE, 0),
    ],
    "course": [
        (1, 0, "Our site", "site", 0, 0, BEFORE, ""),
        # Midnight in Madrid is the day before in UTC; the end at midnight makes 31 March the last day.
        (ALGEBRA, 22, "Algebra", "ALG-25", at("02-01T00:00"), at("04-01T00:00"), BEFORE, "es"),
        (LOGIC, 21, "Logic", "LOG-25", at("02-03T00:00"), at("12-01T00:00"), BEFORE, ""),
        (STAFF_ROOM, 30, "Staff room", "STAFF", at("01-15T00:00"), 0, BEFORE, ""),
    ],
    "course_categories": [(21, "Faculty", "/21"), (22, "Bachelor", "/21/22"), (30, "Internal", "/30")],
    # Algebra lies below both: the nearer one counts.
    "program_categories": [(21, "faculty", "Faculty courses", ""), (22, "bsc", "BSc Mathematics", "bachelor")],
    # Nobody is a member of the faculty, whose Logic Eve takes; Fay only sits in on Algebra.
    "program_members": [(person, "bsc", "2025-01-15") for person in (ANA, BO, CY, DEE, EVE)],
    "institution": [("uni", "University of Somewhere", "Europe/Madrid", 0.5)],
    "enrol": [
        (501, "manual", ALGEBRA, STUDENT),
        (502, "self", ALGEBRA, STUDENT),
        (503, "manual", LOGIC, STUDENT),
        (504, "manual", STAFF_ROOM, STUDENT),
    ],
    "user_enrolments": [
        # Ana, twice at the same time: one registration, from the earlier.
        (1, 0, 501, ANA, 0, 2147483647, at("01-20T10:00"), at("01-20T10:00")),
        (2, 0, 502, ANA, 0, 0, at("01-25T10:00"), at("01-25T10:00")),
        # Bo is suspended on 20 February, at half past midnight in Madrid.
        (3, 1, 501, BO, 0, 0, at("01-20T10:00"), at("02-20T00:30")),
        # Cy left (row 4 is gone) and came back.
        (5, 0, 501, CY, 0, 0, at("02-15T10:00"), at("02-15T10:00")),
        # Eve is in Algebra to the end; the grade says fail. Logic still runs.
        (6, 0, 501, EVE, 0, 0, at("01-20T10:00"), at("01-20T10:00")),
        (7, 0, 503, EVE, 0, 0, at("01-21T10:00"), at("01-21T10:00")),
        # The teacher was enrolled by the way that makes students.
        (8, 0, 501, TEACHER, 0, 0, at("01-11T10:00"), at("01-11T10:00")),
        (9, 0, 504, TEACHER, 0, 0, at("01-11T10:00"), at("01-11T10:00")),
    ],
    "role": [(STUDENT, "", "student", "student"), (EDITING_TEACHER, "", "editingteacher", "editingteacher")],
    "context": [(900, 40, 22), (911, 50, ALGEBRA), (912, 50, LOGIC), (913, 50, STAFF_ROOM)],
    "role_assignments": [
        *((10 + n, STUDENT, 911, person) for n, person in enumerate((ANA, BO, CY, EVE))),
        (20, STUDENT, 912, EVE),
        (21, EDITING_TEACHER, 911, TEACHER),
        (22, EDITING_TEACHER, 913, TEACHER),
    ],
    "modules": [(1, "assign"), (2, "quiz"), (3, "forum"), (4, "lesson"), (5, "url")],
    "course_modules": [
        (71, ALGEBRA, 1, 1),
        (72, ALGEBRA, 2, 1),
        (73, ALGEBRA, 3, 1),
        (74, ALGEBRA, 4, 1),
        (75, ALGEBRA, 5, 1),
        (76, ALGEBRA, 1, 2),
    ],
    # Due at midnight: until the end of 14 February. The second one is graded by a scale of four steps.
    "assign": [
        (1, ALGEBRA, "Essay", at("02-15T00:00"), 20),
        (2, ALGEBRA, "Group work", 0, -3),
    ],
    "assign_submission": [
        (1, 1, ANA, 0, "submitted", 0, 0, at("02-14T23:30")),
        (2, 1, ANA, 0, "submitted", 1, 1, at("02-20T12:00")),
        (3, 1, EVE, 0, "submitted", 0, 1, at("02-15T08:00")),
        (4, 1, BO, 0, "draft", 0, 1, at("02-10T08:00")),
        (5, 1, CY, 0, "new", 0, 1, at("02-16T08:00")),
        (6, 1, TEACHER, 0, "submitted", 0, 1, at("02-02T08:00")),
        (7, 2, 0, 60, "submitted", 0, 1, at("03-01T12:00")),
    ],
    "groups_members": [(1, 60, ANA), (2, 60, EVE)],
    "assign_grades": [
        # The first attempt was graded once more when the second one had its grade: the second still counts.
        (1, 1, ANA, 0, TEACHER, "8.00000", at("02-16T12:00"), at("03-03T12:00")),
        # Regraded on 25 February.
        (2, 1, ANA, 1, TEACHER, "16.00000", at("02-21T12:00"), at("02-25T12:00")),
        (3, 1, EVE, 0, -1, "-1.00000", at("02-15T08:00"), at("02-15T08:00")),
        (4, 2, ANA, 0, TEACHER, "3.00000", at("03-05T12:00"), at("03-05T12:00")),
    ],
    "quiz": [(1, ALGEBRA, "Test", at("03-10T18:00"), "4.00000", "10.00000")],
    "quiz_attempts": [
        (1, 1, ANA, 1, 801, 0, "finished", at("03-09T12:00"), "3.00000"),
        (2, 1, ANA, 2, 802, 0, "abandoned", 0, ""),
        (3, 1, EVE, 1, 803, 0, "finished", at("03-10T12:00"), "1.00000"),
        (4, 1, CY, 1, 804, 0, "inprogress", 0, ""),
        (5, 1, TEACHER, 1, 805, 1, "finished", at("03-01T12:00"), "4.00000"),
    ],
    "question_attempts": [
        (1, 801, 41, "1.0000000"),
        (2, 801, 42, "3.0000000"),
        (3, 803, 43, "1.0000000"),
        (4, 803, 42, "3.0000000"),
        (5, 801, 44, "0.0000000"),
        (6, 805, 41, "1.0000000"),
        (7, 899, 41, "1.0000000"),
    ],
    "question_attempt_steps": [
        (1, 1, 0, "todo", "", at("03-09T11:00")),
        (2, 1, 1, "complete", "", at("03-09T11:30")),
        (3, 1, 2, "gradedright", "1.0000000", at("03-09T12:00")),
        # Graded by the computer, then better by the teacher on 12 March.
        (4, 2, 1, "gradedwrong", "0.0000000", at("03-09T12:00")),
        (5, 2, 2, "mangrpartial", "0.6666667", at("03-12T10:00")),
        (6, 3, 1, "gaveup", "", at("03-10T12:00")),
        (7, 4, 1, "gradedwrong", "-0.3333333", at("03-10T12:00")),
        (8, 5, 1, "gradedright", "1.0000000", at("03-09T12:00")),
        (9, 6, 1, "gradedright", "1.0000000", at("03-01T12:00")),
    ],
    # Wording 43 is the second version of the question of wording 41.
    "question_versions": [(1, 31, 1, 41), (2, 31, 2, 43), (3, 32, 1, 42)],
    "lesson": [(1, ALGEBRA, "Walk through", 0, 50, 0)],
    "lesson_grades": [(1, 1, ANA, "80.00000", at("02-05T12:00")), (2, 1, ANA, "90.00000", at("02-06T12:00"))],
    "forum": [(1, ALGEBRA, "Questions")],
    "forum_discussions": [(1, ALGEBRA, 1)],
    "forum_posts": [
        (1, 1, ANA, at("02-05T00:30"), "Hello", "I am Ana"),
        (2, 1, TEACHER, at("02-05T08:00"), "Re: Hello", "I am your teacher"),
        (3, 1, EVE, at("02-06T08:00"), "Re: Hello", "I am Eve"),
    ],
    "grade_items": [
        (1, ALGEBRA, "course", "", "", "100.00000", "50.00000"),
        (2, ALGEBRA, "mod", "assign", 2, "4.00000", "0.00000"),
        (3, LOGIC, "course", "", "", "100.00000", "50.00000"),
    ],
    "grade_grades": [
        (1, 1, ANA, "72.00000", at("04-05T12:00")),
        (2, 1, EVE, "31.00000", at("04-05T12:00")),
        # Of a course that has not ended: no result yet.
        (3, 3, EVE, "12.00000", at("04-05T12:00")),
    ],
    "course_completions": [(1, ANA, ALGEBRA, at("03-30T12:00")), (2, EVE, ALGEBRA, "")],
    "course_modules_completion": [
        (1, 75, ANA, 1, at("02-03T12:00")),
        (2, 75, EVE, 0, at("02-03T12:00")),
        (3, 72, EVE, 3, at("03-10T12:00")),
    ],
}


def log() -> list[tuple]:
    """The log store."""
    rows: list[tuple] = []

    def add(
        event: str, time: str, who: int, course: int, /, table: str = "", row: int | str = "", module: int = 0, **more
    ) -> None:
        component, target, action = event.split()
        place = (70, module) if module else (50, course)
        whom, behind, origin = more.get("whom", ""), more.get("behind", ""), more.get("origin", "web")
        moment = at(time)
        number = 1000 + len(rows)
        rows.append((number, component, action, target, table, row, *place, who, course, whom, behind, origin, moment))

    # Cy: enrolled, left; a row of the table exists of the return only.
    add("core user_enrolment created", "01-20T10:00", ADMIN, ALGEBRA, "user_enrolments", 4, whom=CY)
    add("core user_enrolment deleted", "02-08T23:45", CY, ALGEBRA, "user_enrolments", 4, whom=CY)
    add("core user_enrolment created", "02-15T10:00", CY, ALGEBRA, "user_enrolments", 5, whom=CY)
    # Dee left for good; when she came is older than the log.
    add("core user_enrolment deleted", "02-11T10:00", ADMIN, ALGEBRA, "user_enrolments", 10, whom=DEE)
    # Fay was taken out when all was over: no withdrawal. Without a grade she has failed.
    add("core role assigned", "01-20T10:00", ADMIN, ALGEBRA, "role", STUDENT, whom=FAY)
    add("core user_enrolment created", "01-20T10:00", ADMIN, ALGEBRA, "user_enrolments", 11, whom=FAY)
    add("core user_enrolment deleted", "04-20T10:00", ADMIN, ALGEBRA, "user_enrolments", 11, whom=FAY, origin="cli")
    # A second teacher who left is nobody's withdrawal.
    add("core role assigned", "01-20T10:00", ADMIN, LOGIC, "role", EDITING_TEACHER, whom=FAY)
    add("core user_enrolment created", "01-20T10:00", ADMIN, LOGIC, "user_enrolments", 12, whom=FAY)
    add("core user_enrolment deleted", "02-20T10:00", ADMIN, LOGIC, "user_enrolments", 12, whom=FAY)

    add("core course viewed", "02-03T11:50", ANA, ALGEBRA)
    add("mod_url course_module viewed", "02-03T11:55", ANA, ALGEBRA, "url", 1, 75)
    add("mod_quiz course_module viewed", "03-10T11:00", EVE, ALGEBRA, "quiz", 1, 72, origin="ws")
    add("mod_forum discussion viewed", "02-06T07:50", EVE, ALGEBRA, "forum_discussions", 1, 73)
    # Posts, which forum_posts tells too.
    add("mod_forum discussion created", "02-05T00:30", ANA, ALGEBRA, "forum_discussions", 1, 73)
    add("mod_forum post created", "02-06T08:00", EVE, ALGEBRA, "forum_posts", 3, 73)
    # Not what Ana did: somebody logged in as her; a restore; the front page; nobody.
    add("core course viewed", "02-10T11:50", ANA, ALGEBRA, behind=ADMIN)
    add("core course viewed", "02-11T11:50", ANA, ALGEBRA, origin="restore")
    add("core course viewed", "02-12T11:50", ANA, 1)
    add("core course viewed", "02-13T11:50", 0, ALGEBRA)
    # The teacher at work: held, since there is no enrollment.
    add("core course viewed", "02-14T11:50", TEACHER, ALGEBRA)
    return rows


def deliver(landing: Path, *left_out: str, instead: Mapping[str, tuple[str, list[tuple]]] | None = None) -> None:
    """Write the files of the delivery but those of some tables, and others with their header `instead`."""
    landing.mkdir(parents=True, exist_ok=True)
    written = {table: (header, ROWS.get(table, [])) for table, header in HEADERS.items()} | dict(instead or {})
    for table, (header, told) in written.items():
        if table in left_out:
            continue
        rows = log() if table == "logstore_standard_log" else told
        prefix = "" if table in BY_THE_INSTITUTION else "mdl_"
        with (landing / f"{prefix}{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header.split())
            writer.writerows(rows)


# Exceptions for learners and their group, and quizzes by each grading method: an addition of its own to the delivery.
EXCEPTIONS: dict[str, tuple[str, list[tuple]]] = {
    # Until the end of 15 February for Eve, of 20 February for Ana; their group's exception counts for neither.
    "assign_user_flags": ("id assignment userid extensionduedate", [(1, 1, EVE, at("02-16T00:00")), (2, 1, BO, 0)]),
    "assign_overrides": (
        "id assignid userid groupid sortorder duedate",
        [(1, 1, ANA, "", "", at("02-21T00:00")), (2, 1, "", 60, 1, at("02-10T00:00")), (3, 2, ANA, "", "", 0)],
    ),
    # Eve has a day less than all.
    "quiz_overrides": ("id quiz userid groupid timeclose", [(1, 1, EVE, "", at("03-09T18:00"))]),
    "quiz": (
        "id course name timeclose sumgrades grade grademethod",
        [
            (1, ALGEBRA, "Test", at("03-10T18:00"), "4", "10", ""),
            *((number, ALGEBRA, f"Method {number}", 0, "4", "10", method) for number, method in ((2, 1), (3, 2))),
            *(
                (number, ALGEBRA, f"Method {number}", 0, "4", "10", method)
                for number, method in ((4, 3), (5, 4), (6, 1))
            ),
        ],
    ),
    "quiz_attempts": (
        HEADERS["quiz_attempts"],
        [
            *ROWS["quiz_attempts"],
            *(
                (10 * quiz + n, quiz, ANA, n, 8000 + 10 * quiz + n, 0, "finished", at(f"03-0{n}T12:00"), points)
                for quiz in (2, 3, 4, 5, 6)
                for n, points in ((1, "3"), (2, "1"), (3, "2"))
            ),
        ],
    ),
    # The teacher took half of it back.
    "quiz_grades": ("id quiz userid grade", [(1, 6, ANA, "3.75")]),
}

MORE: dict[str, dict] = {
    "assign_overrides": {"id": 1, "assignid": 1, "userid": ANA, "groupid": 60, "sortorder": 1, "duedate": BEFORE},
    "assign_user_flags": {"id": 1, "assignment": 1, "userid": EVE, "extensionduedate": at("02-16T00:00")},
    "quiz": {"grademethod": 1},
    "quiz_overrides": {"id": 1, "quiz": 1, "userid": EVE, "groupid": 60, "timeclose": at("03-09T18:00")},
    "quiz_grades": {"id": 1, "quiz": 1, "userid": ANA, "grade": "7.5"},
    "user_enrolments": {"timestart": at("01-11T00:00")},
    "role": {"name": "Of the site"},
    "program_categories": {"university_name": "Somewhere", "terms_per_year": 2, "terms_may_be_missed": 1},
    "program_members": {"completed_on": "2028-07-01", "leave_from_on": "2026-01-01", "leave_to_on": "2026-06-30"},
    "lesson": {"deadline": at("02-20T00:00")},
    "course_runs": {"course": LOGIC, "course_id": "LOG", "term_id": "spring", "season": "spring"},
    "page": {"id": 1, "course": ALGEBRA, "name": "Welcome"},
    "skills": {"skill_id": "proofs", "skill_name": "Proofs", "competency": "reasoning", "domain": "mathematics"},
    "question_skills": {"question_id": 31, "skill_id": "proofs"},
    "course_skills": {"course_id": ALGEBRA, "skill_id": "proofs"},
}


def make_moodle() -> dict[str, list[dict]]:
    """The delivery as rows of raw by table; what it leaves out altogether is in MORE."""
    (source,) = yaml.safe_load(CONTRACT.read_text())["sources"]
    tables = {}
    for table in source["tables"]:
        columns = {column["name"]: column for column in table["columns"] if _meta(column).get("pii") != "direct"}
        told = log() if table["name"] == "logstore_standard_log" else ROWS.get(table["name"], [])
        names = HEADERS.get(table["name"], "").split()
        rows = [dict(zip(names, row, strict=True)) for row in told]
        rows = [{**row, **MORE.get(table["name"], {})} for row in rows or [{}]]
        typed = [{name: _typed(row.get(name), column) for name, column in columns.items()} for row in rows]
        moment = _meta(table).get("event_time")
        tables[table["name"]] = [row | ({"event_date": row[moment].date()} if moment else {}) for row in typed]
    return tables


def _meta(described: dict) -> dict:
    return described.get("config", {}).get("meta", {})


def _typed(value: object, column: dict) -> object:
    if value in (None, "") or str(value) in _meta(column).get("null_values", ()):
        return None
    if column["data_type"] == "timestamp":
        return datetime.fromtimestamp(int(value), UTC).replace(tzinfo=None)
    kinds = {"varchar": str, "integer": int, "double": float, "date": date.fromisoformat}
    return kinds[column["data_type"]](value)
