"""A simulated university with planted truth.

Modules, in the order in which to read them:

    drivers      every driver and control: how it is defined, what the report prints, which effect is planted
    world        programs, calendar, places: the same in every university
    courses      course designs and their items
    population   learners, first terms and what they lead to
    truth        what a planted percent means; solving: how the coefficients were made to meet it
    tables       the analysis tables, without events
    enrollments  what a course enrollment has to show; history: later terms, graduation and open content
    engagement   who does less and less before they drop, fail or leave, without a change of any driver
    variants     other worlds of skills, harder for the skill models
    skills       questions, answers and gains; employers: whose people are abler; trajectories: abilities day by day
    second_marks hand-ins that a second kind of grader marks, and who is severe
    landing      the landing files of the contract `campus`; places, events and dirt are its parts, delivery
                 writes them

`tables(seed, students)` gives the analysis tables in seconds, `write(landing, seed, students)` the files from which the
marts make the same tables.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.simulate import landing as _landing
from dagster_project.simulate import tables as _tables
from dagster_project.simulate import truth as _truth
from dagster_project.simulate.delivery import Report
from dagster_project.simulate.engagement import describe as _describe_engagement
from dagster_project.simulate.population import draw
from dagster_project.simulate.skills import describe as _describe_skills
from dagster_project.simulate.truth import STUDENTS
from dagster_project.simulate.variants import VARIANTS

GRADING = (
    "Second marks stand beside the grades and change none. Severity in points against staff, before grades are cut to "
    "0 to 100; points: what that makes of grades between 0 and 100; graders: members of staff against each other."
)
MANIFEST = "simulated.json"
GRADUATION = (
    "Drawn by lot, apart from every driver and from the outcome. Who graduates within the first year comes on top of "
    "the students, and no planted percent counts them."
)

__all__ = ["STUDENTS", "VARIANTS", "AnalysisTables", "tables", "write"]


class AnalysisTables(NamedTuple):
    """Rows of the retention analysis; columns are defined in module `drivers`."""

    learner_program: pa.Table
    learner_course: pa.Table


def tables(
    seed: int, students: int = STUDENTS, *, hidden: bool = False, with_probability: bool = False
) -> AnalysisTables:
    """The analysis tables of one university, without events.

    Args:
        seed: the same seed gives the same tables.
        students: degree learners with a matured first-year outcome, without those who graduated by then.
        hidden: switch on an unobserved trait that moves `has_open_completion`, `days_active` and the outcome.
        with_probability: add `true_probability`.
    """
    population = draw(seed, students, _truth.solved(), hidden=hidden)
    return AnalysisTables(
        _tables.learner_program(population, with_probability=with_probability),
        _tables.learner_course(population, with_probability=with_probability),
    )


def write(
    landing: Path,
    truth: Path,
    seed: int = 1,
    students: int = STUDENTS,
    *,
    hidden: bool = False,
    disengagement: bool = True,
    skills: str | None = None,
) -> Report:
    """Writes the landing files of one university, and its truth beside them.

    Among the landing files lies `simulated.json`, which says that they are made up and names each by its SHA-256: by it
    the loader and every page know them again, wherever they are loaded from.

    Args:
        landing: landing folder of a source with the contract `campus`.
        truth: file for the truth; it must not lie in the landing folder, where a loader could find it. Beside it,
            `<name>-abilities.parquet` has the ability of each learner in each skill at the last answer, and
            `<name>-abilities-by-quarter.parquet` those of some learners at the end of each quarter.
        seed: the same seed gives the same files.
        students: as for `tables`, and `hidden` too.
        disengagement: whether learners do less and less before they drop, fail or leave. No driver changes by it.
        skills: another world of skills, one of `VARIANTS` (module `variants`).

    Returns:
        Rows by table and the planted dirt by kind.
    """
    landing, truth = Path(landing).resolve(), Path(truth).resolve()
    if truth.is_relative_to(landing):
        raise ValueError(f"the truth would lie in the landing folder: {truth} is inside {landing}; give another path")
    if skills not in (None, *VARIANTS):
        raise ValueError(f"there is no variant of skills {skills!r}: expected one of {', '.join(VARIANTS)}")
    population = draw(seed, students, _truth.solved(), hidden=hidden, skill_variant=skills)
    before = _written(landing)
    report = _landing.write(landing, population, disengagement=disengagement)
    files = sorted(path for path, at in _written(landing).items() if before.get(path) != at)
    manifest = {
        "about": "Made up by the simulated university of this project: no file named here is about a real person.",
        "seed": seed,
        "students": students,
        "files": {str(path.relative_to(landing)): _content_hash(path) for path in files},
    }
    (landing / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    content = _truth.describe(population) | _describe_skills(population) | report.employers.describe()
    content |= _describe_engagement() if disengagement else {}
    content |= {"graduation": {"about": GRADUATION, **report.graduation}}
    content |= {"grading": {"about": GRADING, **report.second_marks.describe()}}
    content |= {"rows": report.rows, "dirt": report.dirt.nested()}
    truth.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(report.abilities(), truth.with_name(f"{truth.stem}-abilities.parquet"))
    pq.write_table(report.quarters, truth.with_name(f"{truth.stem}-abilities-by-quarter.parquet"))
    truth.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return report


def _written(folder: Path) -> dict[Path, int]:
    """When each file of a folder was written."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path: path.stat().st_mtime_ns for path in files}


def _content_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
