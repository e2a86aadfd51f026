"""How rows become files of the landing folder, and the count of what was written and planted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from dagster_project.simulate.dirt import Dirt
from dagster_project.simulate.employers import Employers
from dagster_project.simulate.second_marks import SecondMarks


@dataclass
class Report:
    """What was written and planted: rows, dirt, employers, abilities at the last answer, graduates, severities.

    `quarters` has abilities of some learners at the end of each quarter: learner_id, skill_id, quarter_end, ability.
    """

    rows: dict[str, int]
    dirt: Dirt
    employers: Employers
    learner: pa.Array
    ability: np.ndarray  # (learners, skills); NaN: no answer
    graduation: dict[str, int]  # learners, by how
    second_marks: SecondMarks
    quarters: pa.Table | None = None

    def add(self, table: str, rows: int) -> None:
        """Counts rows of a table."""
        self.rows[table] = self.rows.get(table, 0) + rows

    def abilities(self) -> pa.Table:
        """Planted abilities: learner_id, skill_id, ability."""
        learner, skill = np.nonzero(~np.isnan(self.ability))
        return pa.table(
            {
                "learner_id": self.learner.take(learner),
                "skill_id": pa.array([f"S{s + 1:02d}" for s in range(self.ability.shape[1])]).take(skill),
                "ability": self.ability[learner, skill],
            }
        )


@dataclass(frozen=True)
class Sittings:
    """Skill checks taken: learner, skill, form (0 or 1), day since 1970."""

    learner: np.ndarray
    skill: np.ndarray
    form: np.ndarray
    day: np.ndarray


def stamp(seconds: np.ndarray, unit: str = "s") -> pa.Array:
    """Seconds since 1970 as time stamps."""
    factor = {"s": 1, "us": 1_000_000}[unit]
    return pa.array(np.asarray(seconds, np.int64) * factor).cast(pa.timestamp(unit))


def write_csv(path: Path, table: pa.Table) -> None:
    """Writes a table as CSV, quoting only what needs it."""
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed", quoting_header="needed"))


def append_lines(path: Path, lines: list[str]) -> None:
    """Appends lines to a text file as they are."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.writelines(line + "\n" for line in lines)


def text_array(values: np.ndarray) -> pa.Array:
    """Words of numpy as Arrow has them."""
    return pa.array(values.astype(object), pa.string())


def write_table(folder: Path, report: Report, name: str, columns: dict[str, Any]) -> pa.Table:
    """Writes one table as CSV and counts its rows."""
    arrays = {
        k: text_array(v) if isinstance(v, np.ndarray) and v.dtype.kind == "U" else pa.array(v, from_pandas=True)
        for k, v in columns.items()
    }
    table = pa.table(arrays)
    write_csv(folder / f"{name}.csv", table)
    report.add(name, table.num_rows)
    return table


def append_spoilt(folder: Path, report: Report, name: str, kind: str, lines: list[str]) -> None:
    """Appends spoilt lines to a table's file and counts them."""
    append_lines(folder / f"{name}.csv", lines)
    report.add(name, len(lines))
    report.dirt.add(name, kind, len(lines))
