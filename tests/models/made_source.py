"""A small source in OULAD's layout, written as the loader writes raw, and a warehouse of its own to build it in."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dagster_project.contracts import tables as analytics
from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.loader import ensure_empty_files
from dagster_project.settings import Settings
from dagster_project.store import warehouse as store

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRACT = REPOSITORY / "dbt/models/staging/oulad/_oulad__sources.yml"
STARTS = {"2013B": date(2013, 2, 1), "2013J": date(2013, 10, 1)}
LENGTH_DAYS = 84
BOARD_DAYS = 60
# Days after hand-in on which the models take a score as known.
GRADING_DAYS = {"TMA": 14, "CMA": 0, "Exam": BOARD_DAYS}
ARROW_TYPES = {"varchar": pa.string(), "integer": pa.int32(), "bigint": pa.int64(), "double": pa.float64()}


def day(presentation: str, number: int) -> date:
    return STARTS[presentation] + timedelta(days=number)


@dataclass
class Source:
    """Rows of the raw tables by name: dictionaries of the contract's columns."""

    name: str
    tables: dict[str, list[dict]] = field(default_factory=dict)

    def until(self, cut: date, name: str) -> "Source":
        """The same source as it was delivered on the morning of a day: nothing dated on it or later."""
        registered = {
            (row["code_module"], row["code_presentation"], row["id_student"]): row
            for row in self.tables["studentRegistration"]
            if day(row["code_presentation"], row["date_registration"]) < cut
        }

        def known(row: dict, column: str) -> bool:
            return row[column] is not None and day(row["code_presentation"], row[column]) < cut

        def result(row: dict, key: tuple) -> str | None:
            left = known(registered[key], "date_unregistration")
            ended = day(row["code_presentation"], LENGTH_DAYS - 1 + BOARD_DAYS) < cut
            return row["final_result"] if (left if row["final_result"] == "Withdrawn" else ended) else None

        assessments = {row["id_assessment"]: row for row in self.tables["assessments"]}

        def handed_in(row: dict) -> date:
            return day(assessments[row["id_assessment"]]["code_presentation"], row["date_submitted"])

        def score(row: dict) -> float | None:
            takes = timedelta(days=GRADING_DAYS[assessments[row["id_assessment"]]["assessment_type"]])
            return row["score"] if handed_in(row) + takes < cut else None

        infos = []
        for row in self.tables["studentInfo"]:
            key = (row["code_module"], row["code_presentation"], row["id_student"])
            if key in registered:
                infos.append({**row, "final_result": result(row, key)})
        return Source(
            name,
            {
                **self.tables,
                "studentInfo": infos,
                "studentRegistration": [
                    row if known(row, "date_unregistration") else {**row, "date_unregistration": None}
                    for row in registered.values()
                ],
                "studentAssessment": [
                    {**row, "score": score(row)} for row in self.tables["studentAssessment"] if handed_in(row) < cut
                ],
                "studentVle": [row for row in self.tables["studentVle"] if known(row, "date")],
            },
        )

    def named(self, name: str) -> "Source":
        return replace(self, name=name)


def make_source(name: str, seed: int, learners: int = 24) -> Source:
    """Two modules in two presentations; some learners take both, some leave, some never show up."""
    chance = random.Random(seed)  # noqa: S311
    tables = {table: [] for table in contract_tables()}
    for number, (module, presentation) in enumerate((m, p) for p in STARTS for m in ("AAA", "BBB")):
        place = {"code_module": module, "code_presentation": presentation}
        tables["courses"].append({**place, "module_presentation_length": LENGTH_DAYS})
        sites = {}
        for offset, kind in enumerate(("oucontent", "forumng", "quiz", "homepage")):
            sites[kind] = 1000 * (number + 1) + offset
            tables["vle"].append({**place, "id_site": sites[kind], "activity_type": kind})
        due = {"TMA": 12, "CMA": 33, "Exam": None}
        for offset, (kind, due_day) in enumerate(due.items()):
            weight = {"TMA": 40.0, "CMA": 60.0, "Exam": 100.0}[kind]
            identity = 100 * (number + 1) + offset
            tables["assessments"].append(
                {**place, "id_assessment": identity, "assessment_type": kind, "date": due_day, "weight": weight}
            )
        for learner in range(learners):
            # Half of those of February come back in October.
            student = learner + (learners // 2 if presentation == "2013J" else 0) + (500 if module == "BBB" else 0)
            left = chance.choice([None, None, None, chance.randint(-5, LENGTH_DAYS)])
            registered = min(chance.randint(-40, 20), left if left is not None else 20)
            tables["studentInfo"].append(
                {
                    **place,
                    "id_student": student,
                    "gender": "MF"[student % 2],
                    "region": f"Region {student % 3}",
                    "highest_education": "A Level or Equivalent",
                    "imd_band": "10-20",
                    "age_band": "0-35" if presentation == "2013B" else "35-55",
                    "num_of_prev_attempts": 0,
                    "studied_credits": 60,
                    "disability": "N",
                    "final_result": "Withdrawn" if left is not None else chance.choice(["Pass", "Fail", "Distinction"]),
                }
            )
            tables["studentRegistration"].append(
                {**place, "id_student": student, "date_registration": registered, "date_unregistration": left}
            )
            stays_until = LENGTH_DAYS if left is None else left
            for number_of_day in range(max(registered, -10), stays_until):
                if chance.random() < 0.25:
                    for kind in chance.sample(sorted(sites), chance.randint(1, 3)):
                        clicks = {"id_site": sites[kind], "date": number_of_day, "sum_click": chance.randint(1, 9)}
                        tables["studentVle"].append({**place, "id_student": student, **clicks})
            for offset, due_day in enumerate(due.values()):
                handed_in = (due_day or LENGTH_DAYS - 2) + chance.randint(-6, 3)
                if handed_in < stays_until and chance.random() < 0.8:
                    tables["studentAssessment"].append(
                        {
                            "id_assessment": 100 * (number + 1) + offset,
                            "id_student": student,
                            "date_submitted": handed_in,
                            "is_banked": 0,
                            "score": float(chance.randint(20, 100)),
                        }
                    )
    return Source(name, tables)


@cache
def contract_tables() -> dict[str, dict[str, str]]:
    """Columns and types of each raw table, as the contract states them."""
    (source,) = yaml.safe_load(CONTRACT.read_text())["sources"]
    return {t["name"]: {c["name"]: c["data_type"] for c in t["columns"]} for t in source["tables"]}


DBT = """
import sys
from dbt.cli.main import dbtRunner
from dagster_project.defs.transform.dbt import parsed_manifest
sys.exit(not dbtRunner(manifest=parsed_manifest()).invoke(sys.argv[1:]).success)
"""
"""dbt as a run starts it: from the project as it was read last. To read it takes ten seconds each time."""


@dataclass
class Warehouse:
    """A warehouse folder, and dbt to build it."""

    home: Path

    def dbt(
        self, *arguments: str, rebuild: dict | None = None, slices: int | None = None, **variables: object
    ) -> subprocess.CompletedProcess:
        """Run dbt; `rebuild`, `slices` and what follows are its vars; without `rebuild` tables are made anew."""
        is_read_anew = arguments[0] == "parse"
        command = [sys.executable, *(["-m", "dbt.cli.main"] if is_read_anew else ["-c", DBT]), *arguments]
        command += ["--project-dir", str(REPOSITORY / "dbt"), "--profiles-dir", str(REPOSITORY / "dbt")]
        command += [
            "--target-path",
            str(self.home / "target"),
            "--log-path",
            str(self.home / "logs"),
            "--no-use-colors",
        ]
        given = {"rebuild": rebuild, "slices": slices, **variables}
        command += ["--vars", json.dumps({name: value for name, value in given.items() if value is not None})]
        if rebuild is None and arguments[0] in ("run", "build"):
            command += ["--full-refresh"]
        environment = {**os.environ, "LEARNING_WAREHOUSE_HOME": str(self.home), "DO_NOT_TRACK": "1"}
        environment["PYTHONPATH"] = str(REPOSITORY)
        return subprocess.run(command, env=environment, cwd=self.home, capture_output=True, text=True, check=False)

    def build(
        self, *arguments: str, rebuild: dict | None = None, slices: int | None = None, **variables: object
    ) -> None:
        done = self.dbt(*(arguments or ["run"]), rebuild=rebuild, slices=slices, **variables)
        assert done.returncode == 0, done.stdout[-4000:]

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.home / "build.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def tables(self) -> dict[str, list[tuple]]:
        """All rows of all tables that the models make, in one order."""
        names = self.query(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema in ('intermediate', 'core', 'marts', 'reporting') order by 1"
        )
        return {name: self.query(f"from {name} order by all") for (name,) in names}


class MadeWarehouse(Warehouse):
    """A warehouse whose raw is written here, as the loader writes it."""

    def __init__(self, home: Path):
        super().__init__(home)
        for contract in read_contracts(REPOSITORY / "dbt" / "models").values():
            ensure_empty_files(contract, Settings(home=home))
        # What Python computes between the two builds of a run: here nothing.
        store.Warehouse(Settings(home=home)).restore(list(analytics.read_contracts().values()))

    def deliver(self, source: Source) -> None:
        """Put the rows of a source into raw, in place of what it delivered before."""
        for table, rows in source.tables.items():
            self.replace(source.name, table, rows)

    def replace(self, source: str, table: str, rows: list[dict], file: str | None = None) -> None:
        file = file or f"{table}.csv"
        numbered = [{**row, "_record": record} for record, row in enumerate(rows, start=1)]
        if table != "studentVle":
            self._copy(table, numbered, file, source, None)
            return
        for path in (self.home / "raw/oulad/studentVle" / f"source={source}").glob("event_date=*/*.parquet"):
            path.unlink()
        by_date: dict[date, list[dict]] = {}
        for row in numbered:
            by_date.setdefault(day(row["code_presentation"], row["date"]), []).append(row)
        for event_date, group in by_date.items():
            self._copy(table, group, file, source, event_date.isoformat())

    def _copy(self, table: str, rows: list[dict], file: str, source: str, event_date: str | None) -> None:
        folder = self.home / "raw/oulad" / table / f"source={source}"
        if event_date:
            folder /= f"event_date={event_date}"
        folder.mkdir(parents=True, exist_ok=True)
        columns = {name: ARROW_TYPES[kind] for name, kind in contract_tables()[table].items()}
        columns |= {"_file": pa.string(), "_record": pa.int64()}
        written = pa.Table.from_pylist([{**row, "_file": file} for row in rows], schema=pa.schema(columns.items()))
        pq.write_table(written, folder / f"{Path(file).stem}.parquet")
