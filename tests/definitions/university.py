"""A university written by hand, row by row, and the warehouse that the loader and dbt make of all of them.

A test module writes its universities at the top:

    no_deadline = University("no_deadline", until="2023-12-31")
    no_deadline.given("terms", '''
        term_id  starts_on   drop_deadline_on
        F22      2022-09-05  -
    ''')

and its tests ask the `built` warehouse for single values. Each university is a source of its own in one delivery.
"""

import csv
import fcntl
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb

from dagster_project.base.keyed_hash import keyed_hash
from dagster_project.contracts import tables as analytics
from dagster_project.contracts.source import Contract, read_contracts
from dagster_project.ingest.identity import read_key
from dagster_project.ingest.loader import ensure_empty_files, load_table
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.warehouse import Warehouse as Store
from tests.models.made_source import Warehouse

EMPTY = "-"
TERM_DAYS = 98
OPEN_TERMS = ("open",)
"""Terms that no calendar has begin with this word: courses are taken there at any time."""
PULSE, PULSE_DAYS = "pulse", 10
QUOTE = re.compile(
    r"(?:(?P<report>Report) p\. (?P<page>\d+)|Definitions, (?P<heading>[\w ]+)): "
    r'"(?P<sentence>.+?)"(?= (?:Report p\. \d|Definitions, [\w ]+: ")|$)'
)

WRITTEN: dict[str, "University"] = {}
"""Every university that a module wrote, by name."""


def day(text: str) -> date:
    return date.fromisoformat(text)


def later(text: str, days: int) -> str:
    return (day(text) + timedelta(days)).isoformat()


@dataclass
class University:
    """Rows by table of a contract. Of `campus`, what rows refer to and nobody wrote is added with plain values.

    Args:
        name: name of the source.
        until: last day of the data: a learner of no program opens a page on each of its last days. None: the rows
            bring their own events.
        institution: columns of its row in `institutions`, where it has one.
        contract: of another one the rows are taken as they are written.
    """

    name: str
    until: str | None = None
    institution: dict[str, object] | None = None
    contract: str = "campus"
    rows: dict[str, list[dict]] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        assert self.name not in WRITTEN, f"two universities are called {self.name}; give one another name"
        WRITTEN[self.name] = self

    def given(self, table: str, text: str) -> None:
        """Add rows: the first line names the columns, blanks separate values, `-` is an empty one."""
        header, *lines = (line.split() for line in text.strip().splitlines() if line.strip())
        for line in lines:
            assert len(line) == len(header), f"{self.name}.{table}: {header} and {line} are not equally many"
            self.add(table, **{name: None if x == EMPTY else x for name, x in zip(header, line, strict=True)})

    def add(self, table: str, **row: object) -> None:
        self.rows.setdefault(table, []).append(row)

    def enrolled(self, text: str) -> None:
        self.given("course_enrollments", text)

    def events(self, text: str) -> None:
        self.given("events", text)

    def items(self, course: str, text: str, version: str = "v1") -> None:
        """Items of a version of a course; those with a weight are graded."""
        before = len(self.rows.setdefault("course_items", []))
        self.given("course_items", text)
        for row in self.rows["course_items"][before:]:
            row |= {"course_id": course, "version_id": version}

    def numbered_items(self, course: str, numbers: range, version: str = "v1") -> None:
        """Readings i1, i2, ... of a version of a course."""
        for number in numbers:
            self.add("course_items", course_id=course, version_id=version, item_id=f"i{number}", kind="reading")

    def tables(self) -> dict[str, list[dict]]:
        """The rows with those that they refer to, and the plain values of columns that nobody wrote."""
        whole = {table: [dict(row) for row in rows] for table, rows in self.rows.items()}
        if self.contract != "campus":
            return whole
        if self.until:
            self._add_pulse(whole)
        self._add_references(whole)
        if self.institution is not None:
            whole["institutions"] = [{"institution_id": self.name, **self.institution}]
        for table, rows in whole.items():
            for number, row in enumerate(rows, start=1):
                for name, value in PLAIN.get(table, {}).items():
                    if name not in row:
                        row[name] = value(row, number) if callable(value) else value
        return whole

    def _add_pulse(self, whole: dict[str, list[dict]]) -> None:
        place = {"learner_id": PULSE, "course_id": PULSE, "term_id": "open"}
        whole.setdefault("course_enrollments", []).append({**place, "enrolled_at": "2021-01-01T12:00"})
        for days in range(PULSE_DAYS):
            at = f"{later(self.until, -days)}T12:00"
            whole.setdefault("events", []).append({**place, "occurred_at": at, "event_type": "page_view"})

    def _add_references(self, whole: dict[str, list[dict]]) -> None:
        def rows(table: str) -> list[dict]:
            return whole.setdefault(table, [])

        known = {row["program_id"] for row in rows("programs")}
        for table in ("terms", "program_enrollments", "courses", "program_courses"):
            for row in whole.get(table, ()):
                program = row.get("program_id", "msc" if table in ("terms", "program_enrollments") else None)
                if program and program not in known:
                    known.add(program)
                    rows("programs").append({"program_id": program})
        only_program = next(iter(known)) if len(known) == 1 else None
        for row in [*rows("terms"), *rows("program_enrollments")]:
            row.setdefault("program_id", "msc")
        for row in rows("submissions") + rows("events"):
            if "term_id" not in row:
                row["term_id"] = self._only_term(row, rows("course_enrollments"))
        offered = {(row["course_id"], row["term_id"]) for row in rows("course_offerings")}
        for row in rows("course_enrollments"):
            place = row["course_id"], row["term_id"]
            if place not in offered:
                offered.add(place)
                rows("course_offerings").append(dict(zip(("course_id", "term_id"), place, strict=True)))
        courses = {row["course_id"]: row for row in rows("courses")}
        for table in ("course_offerings", "course_items"):
            for row in rows(table):
                if row["course_id"] not in courses:
                    terms = {term for course, term in offered if course == row["course_id"]}
                    is_open = terms and all(term.startswith(OPEN_TERMS) for term in terms)
                    courses[row["course_id"]] = {"course_id": row["course_id"]}
                    courses[row["course_id"]] |= {"course_type": "open" if is_open else "degree"}
        for row in courses.values():
            row.setdefault("course_type", "degree")
            if row["course_type"] == "degree" and "program_id" not in row:
                assert only_program, f"{self.name}: say in `courses` which program {row['course_id']} belongs to"
                row["program_id"] = only_program
        whole["courses"] = list(courses.values())
        for row in rows("course_offerings"):
            if "starts_on" not in row:
                row |= self._days(row, courses[row["course_id"]].get("program_id"), rows("terms"))
        for row in rows("course_enrollments"):
            offering = next(
                x
                for x in rows("course_offerings")
                if (x["course_id"], x["term_id"]) == (row["course_id"], row["term_id"])
            )
            row.setdefault("enrolled_at", f"{later(offering['starts_on'], -14)}T12:00")
        for row in rows("program_enrollments"):
            first = self._term(row["program_id"], row["first_term_id"], rows("terms"))
            row.setdefault("admitted_on", later(first["starts_on"], -60))
        learners = {row["learner_id"] for row in rows("learners")}
        for table in list(whole):
            for row in whole[table]:
                if "learner_id" in row and row["learner_id"] not in learners:
                    learners.add(row["learner_id"])
                    rows("learners").append({"learner_id": row["learner_id"]})

    def _only_term(self, row: dict, enrollments: list[dict]) -> str:
        """The term of a row that does not name one: there is one enrollment of the learner in the course."""
        terms = {
            x["term_id"]
            for x in enrollments
            if (x["learner_id"], x["course_id"]) == (row["learner_id"], row["course_id"])
        }
        assert len(terms) == 1, f"{self.name}: of {row} it is not clear which of the terms {sorted(terms)} is meant"
        return terms.pop()

    def _term(self, program: str | None, term: str, terms: list[dict]) -> dict:
        named = [row for row in terms if row["term_id"] == term]
        of_program = [row for row in named if row["program_id"] == program]
        of_all = [row for row in named if row["program_id"] is None]
        found = of_program or of_all or named
        assert found, f"{self.name}: no term {term} is written"
        return found[0]

    def _days(self, offering: dict, program: str | None, terms: list[dict]) -> dict:
        if offering["term_id"].startswith(OPEN_TERMS):
            return {"starts_on": "2021-01-01"}
        term = self._term(program, offering["term_id"], terms)
        return {"starts_on": term["starts_on"], "ends_on": term.get("ends_on", later(term["starts_on"], TERM_DAYS - 1))}


def _is_graded(row: dict, _: int) -> str:
    return "true" if row.get("weight") is not None else "false"


PLAIN: dict[str, dict[str, str | Callable[[dict, int], object]]] = {
    "learners": {"registered_at": "2020-01-01T12:00"},
    "programs": {"program_name": lambda row, _: row["program_id"].upper(), "university_name": "Uni"},
    "terms": {
        "season": "fall",
        "ends_on": lambda row, _: later(row["starts_on"], TERM_DAYS - 1),
        "drop_deadline_on": lambda row, _: later(row["starts_on"], 14),
        "is_required": "true",
    },
    "course_offerings": {"version_id": "v1"},
    "course_items": {
        "week": "1",
        "is_graded": _is_graded,
        "position": lambda _, number: number,
    },
    "submissions": {
        "attempt_number": "1",
        "maximum_score": "10",
        "score": "10",
        "grade_released_at": lambda row, _: row["submitted_at"],
        "graded_by": "automatic",
    },
    "events": {
        "event_id": lambda _, number: number,
        "event_type": "item_completed",
        "received_at": lambda row, _: row["occurred_at"],
    },
    "support_tickets": {"ticket_id": lambda _, number: f"t{number}", "ticket_type": "technical"},
    "skills": {"skill_name": lambda row, _: row["skill_id"]},
}


class Row(dict):
    """A row that notes which of its columns are read."""

    def __init__(self, row: dict, table: str, columns: set[str]):
        super().__init__(row)
        self._table, self._columns = table, columns

    def __getitem__(self, name: str) -> object:
        self._columns.add(f"{self._table}.{name}")
        return super().__getitem__(name)


class Built:
    """The warehouse of all universities. It answers with values of built tables, and counts what it was asked."""

    def __init__(self, home: Path):
        self.settings = Settings(home=home / "warehouse")
        self.columns: set[str] = set()
        """Tables and columns that were read, as `table` and `table.column`."""

    @classmethod
    def of_all(cls, home: Path) -> "Built":
        """Load every university that was written and build them in one run, unless another process has done so."""
        built = cls(home)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (home / "built").exists():
                contracts = read_contracts(REPOSITORY / "dbt" / "models")
                for contract in contracts.values():
                    ensure_empty_files(contract, built.settings)
                Store(built.settings).restore(list(analytics.read_contracts().values()))
                for university in WRITTEN.values():
                    landing = home / "landing" / university.name
                    _load(university, contracts[university.contract], landing, built.settings)
                Warehouse(built.settings.home).build("build", "--exclude-resource-type", "test", "unit_test")
                (home / "built").touch()
        return built

    def value(self, university: University, column: str, **where: object) -> object:
        """The value of `table.column` in the one row that has the given learner, program, course, term, ....

        A key of a program, term, course or learner is answered with the id that the university wrote.
        """
        table, name = column.split(".")
        rows = self._rows(university, table, where)
        self.columns.add(column)
        assert len(rows) == 1, f"{university.name}: {len(rows)} rows of {table} with {where}, one is expected"
        assert name in rows[0], f"{table} has no column {name}; it has {', '.join(sorted(rows[0]))}"
        return rows[0][name.removesuffix("_key") if name in self._ids else name]

    def rows(self, university: University, table: str, **where: object) -> list[dict]:
        """The rows of a table that have the given values; ids stand beside keys under `learner`, `course`, ...."""
        self.columns.add(table)
        return [Row(row, table, self.columns) for row in self._rows(university, table, where)]

    def seed(self, table: str) -> list[dict]:
        """The rows of a table that belongs to no source."""
        self.columns.add(table)
        return [Row(row, table, self.columns) for row in self._table(table)]

    def catalog(self, schema: str) -> dict[str, set[str]]:
        """The names of the columns of each table of a schema."""
        self.columns.add("information_schema.columns")
        with duckdb.connect(str(self.settings.home / "build.duckdb"), read_only=True) as connection:
            found = connection.execute(
                "select table_name, list(column_name) from information_schema.columns where table_schema = ? "
                "group by table_name",
                [schema],
            ).fetchall()
        return {table: set(names) for table, names in found}

    def _rows(self, university: University, table: str, where: dict) -> list[dict]:
        return [
            row
            for row in self._table(table)
            if row.get("source") == university.name
            and all(str(row.get(name, row.get(f"{name}_id"))) == str(x) for name, x in where.items())
        ]

    @functools.cache  # noqa: B019
    def _table(self, table: str) -> list[dict]:
        rows = self._select(table)
        for row in rows:
            for key, ids in self._ids.items():
                if key in row:
                    empty = dict.fromkeys(next(iter(ids.values())))
                    row |= {name: x for name, x in ids.get(row[key], empty).items() if row.get(name) is None}
        return rows

    def _select(self, table: str) -> list[dict]:
        with duckdb.connect(str(self.settings.home / "build.duckdb"), read_only=True) as connection:
            schemas = connection.execute(
                "select table_schema from information_schema.tables where table_name = ? "
                "and table_schema in ('core', 'intermediate', 'marts', 'features', 'reporting', 'learners')",
                [table],
            ).fetchall()
            assert len(schemas) == 1, f"{table}: {len(schemas)} built tables have this name, one is expected"
            found = connection.execute(f'from {schemas[0][0]}."{table}"')
            names = [name for name, *_ in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    @functools.cached_property
    def _ids(self) -> dict[str, dict[str, dict[str, str]]]:
        """By name of a key column and key: the ids that a university gave."""
        key = read_key(self.settings)
        pseudonyms = {
            keyed_hash(row["learner_id"], key): row["learner_id"]
            for university in WRITTEN.values()
            for row in university.tables().get("learners", ())
        }
        learners = {
            row["learner_key"]: pseudonyms.get(row["learner_id"], row["learner_id"])
            for row in self._select("dim_learner")
        }
        programs = {row["program_key"]: row["program_id"] for row in self._select("dim_program")}
        courses = {row["course_key"]: row["course_id"] for row in self._select("dim_course")}
        terms = {row["term_key"]: row["term_id"] for row in self._select("dim_term")}
        offerings = {
            row["course_offering_key"]: {"course": row["course_id"], "term": row["term_id"]}
            for row in self._select("dim_course_offering")
        }
        programs_of = {
            row["program_enrollment_key"]: {
                "source": row["source"],
                "learner": learners[row["learner_key"]],
                "program": programs[row["program_key"]],
            }
            for row in self._select("fct_program_enrollment")
        }
        return {
            "program_enrollment_key": programs_of,
            "enrollment_key": programs_of,
            "learner_key": {key: {"learner": x} for key, x in learners.items()},
            "program_key": {key: {"program": x} for key, x in programs.items()},
            "course_key": {key: {"course": x} for key, x in courses.items()},
            "open_course_key": {key: {"open_course": x} for key, x in courses.items()},
            "term_key": {key: {"term": x} for key, x in terms.items()},
            "first_term_key": {key: {"first_term": x} for key, x in terms.items()},
            "next_term_key": {key: {"next_term": x} for key, x in terms.items()},
            "course_offering_key": offerings,
        }


def _load(university: University, contract: Contract, landing: Path, settings: Settings) -> None:
    """Write the landing files of a university and load those tables that have rows."""
    tables = university.tables()
    unknown = tables.keys() - {table.name for table in contract.tables}
    assert not unknown, f"{university.name}: the contract {contract.name} has no tables {sorted(unknown)}"
    landing.mkdir(parents=True)
    for table in contract.tables:
        rows = tables.get(table.name)
        if not rows:
            continue
        names = [column.name for column in table.columns]
        unknown = {name for row in rows for name in row} - set(names)
        assert not unknown, f"{university.name}: table {table.name} of the contract has no columns {sorted(unknown)}"
        with (landing / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        loaded = load_table(contract, table.name, university.name, landing, settings)
        loaded.raise_for_refused_files()
        assert loaded.refused == 0, f"{university.name}.{table.name}: {loaded.refused} of the rows were refused"


def sentences() -> list[dict[str, str]]:
    """The printed sentences and the tests that prove them."""
    with (Path(__file__).parent / "sentences.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def quotes(docstring: str | None) -> set[tuple[str, str, str]]:
    """Document, page and sentence of what a docstring quotes: `Report p. 5: "..."`, `Definitions, Time: "..."`."""
    text = " ".join((docstring or "").split())
    return {
        (found["report"] or "Definitions", found["page"] or found["heading"], found["sentence"])
        for found in QUOTE.finditer(text)
    }
