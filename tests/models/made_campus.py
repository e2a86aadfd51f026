"""A small university on the general contract, as rows: every column of every table is filled somewhere."""

import shutil
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path

import duckdb
import pandas as pd

from dagster_project.contracts.source import read_contracts
from dagster_project.settings import REPOSITORY

LEARNERS = 24
PROGRAMS = ("bsc", "msc")
# Two terms and the ones a year later.
TERMS = {"24f": date(2024, 9, 2), "25s": date(2025, 2, 3), "25f": date(2025, 9, 1), "26s": date(2026, 2, 2)}
TERM_DAYS = 98
LAST_DAY = date(2026, 3, 1)
COURSES = ("algebra", "logic")
OPEN, CHECK = "intro", "check"
KINDS = ("video", "reading", "practice", "quiz", "staff_graded", "peer_graded", "programming", "discussion", "team")
GRADED = ("quiz", "staff_graded", "peer_graded", "programming")
EVENTS = ("item_completed", "video_progress", "page_view", "forum_view", "forum_thread", "forum_reply")


def make_campus() -> dict[str, list[dict]]:
    """Rows of the raw tables by name, without direct identifiers."""
    courses = [f"{program}-{name}" for program in PROGRAMS for name in COURSES]
    tables: dict[str, list[dict]] = {
        "institutions": [
            {"institution_id": "uni", "institution_name": "Uni", "time_zone": "Europe/Madrid", "passing_share": 0.5}
        ],
        "programs": [
            {"program_id": p, "program_name": p.upper(), "university_name": "Uni", "level": "bachelor"}
            | {"terms_per_year": 2, "terms_may_be_missed": 1, "time_zone": "Europe/Madrid", "passing_share": 0.5}
            for p in PROGRAMS
        ],
        "terms": [
            {"program_id": p, "term_id": f"{p}-{t}", "season": "fall" if t.endswith("f") else "spring"}
            | {"starts_on": start, "ends_on": start + timedelta(TERM_DAYS - 1)}
            | {"drop_deadline_on": start + timedelta(20), "is_required": t.endswith("f")}
            for p in PROGRAMS
            for t, start in TERMS.items()
        ],
        "courses": [
            {"course_id": c, "course_name": c.title(), "course_type": kind, "program_id": program}
            | {"level": "basic", "is_required_for_progress": kind == "degree", "language": "en", "passing_share": 0.5}
            for c, kind, program in (
                *((c, "degree", c.split("-")[0]) for c in courses),
                (OPEN, "open", None),
                (CHECK, "skill_check", None),
            )
        ],
        "program_courses": [{"program_id": PROGRAMS[1], "course_id": courses[0]}],
        "course_offerings": [
            {"course_id": c, "term_id": f"{c.split('-')[0]}-{t}", "version_id": "v1"}
            | {"starts_on": start, "ends_on": start + timedelta(TERM_DAYS - 1)}
            for c in courses
            for t, start in TERMS.items()
        ]
        + [
            {"course_id": c, "term_id": "open", "version_id": "v1", "starts_on": date(2024, 1, 1)}
            | {"ends_on": date(2027, 12, 31)}
            for c in (OPEN, CHECK)
        ],
        "course_items": [item for c in (*courses, OPEN) for item in _items(c)],
        "shared_items": [
            {"open_course_id": OPEN, "open_item_id": f"i{k}", "course_id": courses[0], "item_id": f"i{k}"}
            for k in range(6)
        ],
        "organizations": [
            {"organization_id": "acme", "organization_name": "Acme", "industry": "retail", "country": "ES"}
            | {"size_band": "1-50"}
        ],
        "skills": [{"skill_id": "sql", "skill_name": "SQL", "competency": "data", "domain": "it"}],
        "course_skills": [{"course_id": c, "skill_id": "sql"} for c in (*courses, OPEN)],
        "questions": [
            {
                "question_id": f"q{k}",
                "question_version": 1,
                "course_id": courses[0],
                "item_id": "i3",
                "maximum_score": 1.0,
            }
            for k in range(4)
        ],
        "question_skills": [{"question_id": f"q{k}", "skill_id": "sql"} for k in range(4)],
    }
    for name in (
        "learners", "organization_members", "program_enrollments", "course_enrollments", "submissions",
        "submission_marks", "responses", "events", "support_tickets", "interventions", "profiles", "credentials",
    ):  # fmt: skip
        tables[name] = []
    for learner in range(LEARNERS):
        _add_learner(tables, learner)
    return tables


def _items(course: str) -> list[dict]:
    return [
        {"course_id": course, "version_id": "v1", "item_id": f"i{k}", "item_name": f"Item {k}", "kind": kind}
        | {"week": 1 + k, "position": k, "is_graded": kind in GRADED, "minutes": 20.0}
        | {"weight": 0.25 if kind in GRADED else None, "due_day": 7 * k + 6 if kind in GRADED else None}
        | {"late_penalty": 0.1 if kind in GRADED else None, "assignment_group": "work" if kind in GRADED else None}
        | {"best_count": 3 if kind in GRADED else None}
        for k, kind in enumerate(KINDS)
    ]


def _add_learner(tables: dict[str, list[dict]], number: int) -> None:
    learner, program = f"l{number:02}", PROGRAMS[number % 2]
    first = "24f" if number % 3 else "25f"
    tables["learners"].append(
        {"learner_id": learner, "registered_at": datetime(2024, 1, 1, 9) + timedelta(number)}
        | {"birth_year": 1980 + number, "gender": ("female", "male")[number % 2], "country": ("ES", "NL")[number % 2]}
        | {"region": "Europe", "education_level": "bachelor", "employment_status": "full_time"}
    )
    tables["program_enrollments"].append(
        {"learner_id": learner, "program_id": program, "first_term_id": f"{program}-{first}"}
        | {"admitted_on": TERMS[first] - timedelta(60)}
        | {"completed_on": TERMS[first] + timedelta(300) if number % 12 == 1 else None}
        | {"leave_from_on": date(2025, 8, 1) if number == 5 else None}
        | {"leave_to_on": date(2025, 12, 31) if number == 5 else None}
    )
    if number % 2:
        tables["organization_members"].append(
            {"learner_id": learner, "organization_id": "acme", "from_on": date(2024, 1, 1), "to_on": date(2027, 1, 1)}
        )
    tables["profiles"].append(
        {"learner_id": learner, "updated_on": date(2024, 8, 1), "target_role": "analyst", "work_experience_count": 2}
        | {"has_links": True, "has_resume": False, "portfolio_project_count": 1}
    )
    tables["support_tickets"].append(
        {"ticket_id": f"t{number}", "learner_id": learner, "program_id": program, "ticket_type": "technical"}
        | {"opened_at": datetime.combine(TERMS[first], time(8)) + timedelta(10)}
    )
    tables["interventions"].append(
        {"intervention_id": f"n{number}", "learner_id": learner, "program_id": program, "channel": "email"}
        | {"course_id": f"{program}-algebra", "topic": "grades", "contacted_by": "advisor"}
        | {"contacted_at": datetime.combine(TERMS[first], time(8)) + timedelta(15)}
        | {"recorded_at": datetime.combine(TERMS[first], time(9)) + timedelta(16)}
    )
    tables["credentials"].append(
        {"credential_id": f"c{number}", "learner_id": learner, "kind": "course_certificate", "course_id": OPEN}
        | {"program_id": program, "issued_on": date(2024, 8, 1)}
    )
    _enroll(tables, number, learner, OPEN, "open", date(2024, 3, 1), 120)
    for term, start in TERMS.items():
        # Some stay away a year after; nobody takes a term before the first one.
        if start < TERMS[first] or start > LAST_DAY or (number % 4 == 0 and start > TERMS[first]):
            continue
        for place, name in enumerate(COURSES):
            _enroll(tables, number + place, learner, f"{program}-{name}", f"{program}-{term}", start, TERM_DAYS)


def _enroll(
    tables: dict[str, list[dict]], number: int, learner: str, course: str, term: str, start: date, days: int
) -> None:
    place = {"learner_id": learner, "course_id": course, "term_id": term}
    end = start + timedelta(days - 1)
    has_dropped, has_ended = number % 5 == 0, end <= LAST_DAY
    has_passed = has_ended and not has_dropped and number % 5 != 1
    left_on = start + timedelta(30)
    tables["course_enrollments"].append(
        {**place, "enrolled_at": datetime.combine(start, time(9)) - timedelta(14), "is_paid": True}
        | {"dropped_on": left_on if has_dropped and left_on <= LAST_DAY else None}
        | {"completed_on": end if has_passed else None}
        | {"final_grade": (85.0 if has_passed else 40.0) if has_ended and not has_dropped else None}
    )
    until = min(left_on if has_dropped else end, LAST_DAY)
    # Some day of every week, another kind of event each; it reaches the platform an hour later.
    day, count = start, 0
    while day <= until:
        at = datetime.combine(day, time(18))
        for minute in range(3):
            tables["events"].append(
                {**place, "event_id": len(tables["events"]), "item_id": f"i{(number + count) % len(KINDS)}"}
                | {
                    "event_type": EVENTS[(count + minute) % len(EVENTS)],
                    "occurred_at": at + timedelta(minutes=9 * minute),
                }
                | {"received_at": at + timedelta(minutes=9 * minute + 60), "event_date": day}
            )
        day, count = day + timedelta(3 + number % 4), count + 1
    if course == CHECK:
        return
    for k, kind in enumerate(KINDS):
        handed_in = start + timedelta(7 * k + 4 + number % 4)
        if kind in GRADED and handed_in <= until:
            tables["submissions"].append(
                {**place, "item_id": f"i{k}", "attempt_number": 1, "score": 6.0 + number % 4, "maximum_score": 10.0}
                | {"submitted_at": datetime.combine(handed_in, time(20)), "graded_by": "staff"}
                | {"grade_released_at": datetime.combine(handed_in, time(20)) + timedelta(3)}
            )
            tables["submission_marks"].append(
                {**place, "item_id": f"i{k}", "attempt_number": 1, "score": 5.0 + number % 4, "maximum_score": 10.0}
                | {
                    "mark_id": f"m{len(tables['submission_marks'])}",
                    "graded_by": "peer",
                    "grader_id": f"l{number + 1:02}",
                }
                | {"marked_at": datetime.combine(handed_in, time(21))}
            )
    if course == "bsc-algebra" and term == "bsc-24f":
        tables["responses"] += [
            {"learner_id": learner, "question_id": f"q{k}", "question_version": 1, "attempt_number": 1}
            | {"course_id": course, "item_id": "i3", "score": float((number + k) % 2), "maximum_score": 1.0}
            | {"answered_at": datetime.combine(start, time(10)) + timedelta(20)}
            for k in range(4)
        ]


def write_campus(home: Path, source: str, tables: Mapping[str, list[dict]]) -> None:
    """Rows of a source into the raw tables of a warehouse, in place of what they held, as the loader writes them."""
    contract = read_contracts(REPOSITORY / "dbt" / "models")["campus"]
    for name, rows in tables.items():
        table = contract.table(name)
        types = {x.name: "varchar" if x.pii == "pseudonym" else x.data_type for x in table.raw_columns}
        types |= {"_file": "varchar", "_record": "bigint"} | ({"event_date": "date"} if table.is_event else {})
        folder = home / "raw" / "campus" / name / f"source={source}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        records = [{**row, "_file": f"{name}.csv", "_record": record} for record, row in enumerate(rows, start=1)]
        frame = pd.DataFrame(records, columns=list(types), dtype=object)
        casts = ", ".join(f'"{column}"::{kind} as "{column}"' for column, kind in types.items())
        with duckdb.connect() as connection:
            connection.register("frame", frame)
            target = (
                f"'{folder}' (format parquet, partition_by (event_date))"
                if table.is_event
                else f"'{folder}/rows.parquet'"
            )
            connection.execute(f"copy (select {casts} from frame) to {target}")
