"""A university of the contract `campus`, written by hand."""

from datetime import date, datetime, time, timedelta

from dagster_project.contracts.source import read_contracts
from dagster_project.settings import REPOSITORY


class University:
    """Rows of the raw tables of one source, added by hand."""

    def __init__(self) -> None:
        contract = read_contracts(REPOSITORY / "dbt" / "models")["campus"]
        self.tables: dict[str, list[dict]] = {table.name: [] for table in contract.tables}

    def add(self, table: str, **row: object) -> None:
        self.tables[table].append(row)

    def program(self, program: str, **more: object) -> None:
        self.add("programs", program_id=program, program_name=program, **more)

    def term(self, program: str | None, term: str, start: date, **more: object) -> None:
        self.add("terms", program_id=program, term_id=term, starts_on=start, ends_on=start + timedelta(97), **more)

    def course(self, course: str, program: str | None, terms: dict[str, date], kind: str = "degree") -> None:
        self.add("courses", course_id=course, course_type=kind, program_id=program)
        for term, start in terms.items():
            length = 97 if kind == "degree" else 4000
            self.add("course_offerings", course_id=course, term_id=term, version_id="v1", starts_on=start)
            self.tables["course_offerings"][-1]["ends_on"] = start + timedelta(length)

    def item(self, course: str, item: str, version: str = "v1", **more: object) -> None:
        row = {"kind": "quiz", "week": 1, "is_graded": True, **more}
        self.add("course_items", course_id=course, version_id=version, item_id=item, **row)

    def student(self, learner: str, program: str, term: str, **more: object) -> None:
        if all(row["learner_id"] != learner for row in self.tables["learners"]):
            self.add("learners", learner_id=learner, registered_at=datetime(2020, 1, 1))
        row = {"admitted_on": date(2022, 1, 1), **more}
        self.add("program_enrollments", learner_id=learner, program_id=program, first_term_id=term, **row)

    def takes(self, learner: str, course: str, term: str, enrolled: date, at: time = time(9), **more: object) -> None:
        at = datetime.combine(enrolled, at)
        self.add("course_enrollments", learner_id=learner, course_id=course, term_id=term, enrolled_at=at, **more)
