"""Suite files: `expectations/<schema>.<table>.json`, one a table, as Great Expectations writes them.

Every expectation has an `id` (the check's name), a `severity` (critical blocks what comes after, warning does not) and
a note in `meta.notes` that says what to do when it fails. Beyond Great Expectations' format, an expectation may say
beside its `kwargs`:

- `columns`: several columns that one rule holds for are one check;
- `of_filling_sources`: values must be there, but only in rows of sources that fill the column at all.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from dagster_project.base.errors import WarehouseError
from dagster_project.settings import REPOSITORY

EXPECTATIONS = REPOSITORY / "expectations"
SEVERITIES = ("critical", "warning")

RANGES = {"expect_column_values_to_be_between"}
VALUES = {
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_match_regex",
    "expect_column_value_lengths_to_be_between",
}
NULLS = {"expect_column_values_to_not_be_null", "expect_column_values_to_be_null"}
PAIRS = {"expect_column_pair_values_a_to_be_greater_than_b"}
CONTAINED = {"expect_column_distinct_values_to_contain_set"}
AGGREGATES = {
    "expect_column_mean_to_be_between": "avg",
    "expect_column_median_to_be_between": "median",
    "expect_column_min_to_be_between": "min",
    "expect_column_max_to_be_between": "max",
}
BY_ROW = RANGES | VALUES | NULLS | PAIRS
"""Types that judge every row, so that unexpected rows can be counted and named."""
TYPES = sorted(BY_ROW | CONTAINED | AGGREGATES.keys())


class SuiteError(WarehouseError, ValueError):
    """A suite file that cannot become checks; the message names the file and what is expected of it."""


@dataclass(frozen=True)
class Expectation:
    """An expectation as written; `kwargs` without its columns."""

    id: str
    type: str
    columns: tuple[str, ...]
    kwargs: dict
    severity: str
    notes: str
    of_filling_sources: bool = False

    @property
    def rule(self) -> str:
        """What must hold of the columns, in words."""
        rule = self.type.removeprefix("expect_").replace("_", " ")
        bounds = ", ".join(f"{key.replace('_', ' ')} {json.dumps(value)}" for key, value in self.kwargs.items())
        return f"{rule} ({bounds or 'all'})"

    @property
    def description(self) -> str:
        """The rule in one line, and what to do when it fails."""
        return f"{', '.join(self.columns)}: {self.rule}. When it fails: {self.notes}"


@dataclass(frozen=True)
class Suite:
    """A suite file: its table and its expectations."""

    path: Path
    schema: str
    table: str
    expectations: tuple[Expectation, ...]

    @property
    def table_name(self) -> str:
        """Name of the table, as schema.table."""
        return f"{self.schema}.{self.table}"


def read_suites(folder: Path = EXPECTATIONS) -> list[Suite]:
    """All suites of a folder, by file name."""
    return [read_suite(path) for path in sorted(folder.glob("*.json"))]


def read_suite(path: Path) -> Suite:
    """Read one suite file.

    Raises:
        SuiteError: the name is not `<schema>.<table>.json`; an expectation lacks its name, severity or note, or is of a
            type that is not known here; two have one name.
    """
    schema, _, table = path.stem.partition(".")
    if not table:
        raise SuiteError(f"{path.name}: expected a name like <schema>.<table>.json")
    expectations = tuple(
        _read(path, number, written) for number, written in enumerate(json.loads(path.read_text())["expectations"], 1)
    )
    names = [expectation.id for expectation in expectations]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SuiteError(f"{path.name}: more than one expectation has the id {', '.join(twice)}")
    return Suite(path, schema, table, expectations)


def _read(path: Path, number: int, written: dict) -> Expectation:
    problems = [key for key in ("id", "type", "kwargs") if key not in written]
    if written.get("severity") not in SEVERITIES:
        problems.append(f"severity (one of {', '.join(SEVERITIES)})")
    if not written.get("meta", {}).get("notes"):
        problems.append("meta.notes (what to do when it fails)")
    if problems:
        raise SuiteError(f"{path.name}, expectation {number}: it lacks {', '.join(problems)}")
    kind, kwargs = written["type"], dict(written["kwargs"])
    if kind not in TYPES:
        raise SuiteError(f"{path.name}, {written['id']}: found type {kind}, expected one of {', '.join(TYPES)}")
    if kind in PAIRS:
        columns = [kwargs.pop("column_A", None), kwargs.pop("column_B", None)]
        if kwargs.get("ignore_row_if") != "either_value_is_missing":
            raise SuiteError(
                f"{path.name}, {written['id']}: rows where one of the two is missing have no order: "
                'expected "ignore_row_if": "either_value_is_missing"'
            )
    else:
        columns = written.get("columns") or [kwargs.pop("column", None)]
    if None in columns or (len(columns) > 1 and kind not in BY_ROW):
        raise SuiteError(
            f"{path.name}, {written['id']}: it lacks the column that {kind} is about (only one, if it judges no rows)"
        )
    of_filling_sources = written.get("of_filling_sources", False)
    if of_filling_sources and kind != "expect_column_values_to_not_be_null":
        raise SuiteError(f"{path.name}, {written['id']}: of_filling_sources is about values that must not be null")
    notes = " ".join(written["meta"]["notes"].split())
    return Expectation(written["id"], kind, tuple(columns), kwargs, written["severity"], notes, of_filling_sources)
