"""What a contract makes of a source's files: each canonical entity as staging fills it, and what it will answer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from dagster_project.base.engine import one_row
from dagster_project.base.sql import identifier

SHOWN_ROWS = 5
WIDEST = 24
"""Characters of a value in a row that is shown."""

REFERENCES = (
    ("program_enrollments", "learner_id", "learners"),
    ("program_enrollments", "program_id", "programs"),
    ("courses", "program_id", "programs"),
    ("course_offerings", "course_id", "courses"),
    ("course_items", "course_id", "courses"),
    ("course_enrollments", "learner_id", "learners"),
    ("course_enrollments", "course_id", "courses"),
    ("course_enrollments", "course_id, term_id", "course_offerings"),
    ("submissions", "learner_id, course_id, term_id", "course_enrollments"),
    ("submissions", "course_id, item_id", "course_items"),
    ("events", "learner_id, course_id, term_id", "course_enrollments"),
    ("events", "course_id, item_id", "course_items"),
    ("questions", "course_id, item_id", "course_items"),
    ("responses", "question_id", "questions"),
    ("question_skills", "question_id", "questions"),
    ("question_skills", "skill_id", "skills"),
    ("organization_members", "learner_id", "learners"),
    ("organization_members", "organization_id", "organizations"),
    ("credentials", "learner_id", "learners"),
)
"""Entity, its columns, and the entity whose rows they name by columns of the same names."""


@dataclass(frozen=True)
class Answer:
    """Something that the warehouse tells, and what it takes.

    Attributes:
        needs: entity → condition on its rows (SQL), of which one has to hold it, and how a reader calls such a row.
    """

    name: str
    needs: Mapping[str, tuple[str, str]]


ANSWERS = (
    Answer(
        "What keeps students in their degree",
        {
            "programs": ("program_type = 'degree'", "programs of type degree"),
            "terms": ("starts_on is not null", "terms with dates"),
            "program_enrollments": ("admitted_on is not null", "enrollments in programs"),
            "course_enrollments": ("term_id is not null", "enrollments in courses, by term"),
        },
    ),
    Answer(
        "Who is at risk of failing or leaving a course",
        {
            "course_offerings": ("starts_on is not null", "offerings with a first day"),
            "course_enrollments": ("outcome is not null", "enrollments with an outcome"),
            "events": ("true", "events"),
        },
    ),
    Answer(
        "Who is at risk of leaving their degree",
        {
            "programs": ("program_type = 'degree'", "programs of type degree"),
            "terms": ("starts_on is not null", "terms with dates"),
            "program_enrollments": ("admitted_on is not null", "enrollments in programs"),
            "events": ("true", "events"),
        },
    ),
    Answer(
        "How good people are at each skill",
        {
            "responses": ("score is not null", "answers to questions with a score"),
            "question_skills": ("true", "the skills that questions test"),
        },
    ),
    Answer(
        "Benchmarks of organizations, and what their people should take next",
        {
            "responses": ("score is not null", "answers to questions with a score"),
            "question_skills": ("true", "the skills that questions test"),
            "course_skills": ("true", "the skills that courses teach"),
            "organization_members": ("true", "members of organizations"),
        },
    ),
    Answer("Severity of graders", {"submission_marks": ("true", "single marks of hand-ins")}),
    Answer("Learning time, sessions and days of study", {"events": ("occurred_at is not null", "events with a time")}),
)


@dataclass(frozen=True)
class Filled:
    """An entity as staging fills it.

    Attributes:
        rows: their number.
        columns: number of values by column, `source` left out.
        names, sample: columns with values, and the first rows of them.
    """

    entity: str
    rows: int
    columns: Mapping[str, int]
    names: tuple[str, ...]
    sample: tuple[tuple, ...]

    @property
    def empty(self) -> tuple[str, ...]:
        """Columns without any value."""
        return tuple(name for name, count in self.columns.items() if not count)


def filled(connection: duckdb.DuckDBPyConnection, contract: str, entity: str, columns: Sequence[str]) -> Filled:
    """How staging fills one entity; `columns` are the canonical ones."""
    view = f"staging.stg_{contract}__{entity}"
    counted = ", ".join(f"count({identifier(name)})" for name in columns)
    rows, *counts = one_row(connection, f"select count(*), {counted} from {view}")
    names = tuple(name for name, count in zip(columns, counts, strict=True) if count)
    chosen = ", ".join(map(identifier, names)) or "1"
    sample = connection.execute(f"select {chosen} from {view} limit {SHOWN_ROWS}").fetchall() if rows else []
    return Filled(entity, rows, dict(zip(columns, counts, strict=True)), names, tuple(sample))


def strangers(connection: duckdb.DuckDBPyConnection, contract: str, entities: Mapping[str, Filled]) -> Iterator[str]:
    """Rows that name rows which are not there, a sentence for each kind."""
    for entity, columns, other in REFERENCES:
        names = [name.strip() for name in columns.split(",")]
        if entity not in entities or other not in entities or not set(names) <= set(entities[entity].names):
            continue
        here, there = (f"staging.stg_{contract}__{name}" for name in (entity, other))
        present = " and ".join(f"{name} is not null" for name in names)
        query = f"select {columns} from {here} where {present}"
        known = f"select {columns} from {there}"
        missing, total = one_row(
            connection,
            f"select count(*) filter (where ({columns}) not in (select ({columns}) from ({known}) where {present})), "
            f"count(*) from ({query})",
        )
        if missing:
            yield (f"{entity}: {missing:,} of {total:,} rows name a {' and '.join(names)} that {other} does not have")


def answers(
    connection: duckdb.DuckDBPyConnection, contract: str, entities: Mapping[str, Filled]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each answer with what it lacks; with nothing: it will be there, as far as counts of rows suffice."""
    for answer in ANSWERS:
        lacking = []
        for entity, (condition, words) in answer.needs.items():
            view = f"staging.stg_{contract}__{entity}"
            is_there = entity in entities and one_row(
                connection, f"select exists (select 1 from {view} where {condition})"
            ) == (True,)
            if not is_there:
                lacking.append(f"{words} ({entity})")
        yield answer.name, tuple(lacking)


def written(entity: Filled) -> list[str]:
    """Lines that show an entity: its rows, what is empty, and the first rows in columns."""
    lines = [f"{entity.entity}: {entity.rows:,} rows"]
    if entity.rows and entity.empty:
        lines.append(f"  without a value: {', '.join(entity.empty)}")
    partly = [
        f"{name} {_percent(count, entity.rows)}" for name, count in entity.columns.items() if 0 < count < entity.rows
    ]
    if partly:
        lines.append(f"  in some rows only: {', '.join(partly)}")
    cells = [entity.names, *(tuple(_cell(value) for value in row) for row in entity.sample)]
    if entity.sample:
        widths = [max(len(row[i]) for row in cells) for i in range(len(entity.names))]
        lines += ["  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
    return [line.rstrip() for line in lines]


def unread(contract_columns: Mapping[str, Sequence[str]], staging_sql: str) -> Iterator[str]:
    """Tables and columns of a contract that no staging model names, a sentence for each table."""
    words = set(re.findall(r"\w+", staging_sql.lower()))
    for table, columns in contract_columns.items():
        if table.lower() not in words:
            yield f"table {table}: no staging model reads it"
        elif left := [name for name in columns if name.lower() not in words]:
            yield f"table {table}: no staging model reads {', '.join(left)}"


def _percent(part: int, whole: int) -> str:
    return f"{min(max(round(100 * part / whole), 1), 99)}%"  # neither none nor all


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
