"""What a day costs when nothing, little or one model is new: CPU seconds of `make run` and of the schedule's question.

    python -m benchmarks.daily [--students 17960] [--oulad anonymisedData.zip] [--changes] [--folder DIR]

With `--changes` single ones follow the new day: a corrected file, a late event, a new learner, an erased one. In the
end all is made anew, and the snapshot before is compared with it row by row; eight days pass first, so that analyses
which wait for a week are due.

Every run is a process of its own, as a user starts it, on a warehouse that lives through the days. CPU seconds are user
and system of the process and its children. The demo needs 20 GB in the folder.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from benchmarks.campus import hold_back_last_day, simulate
from benchmarks.oulad import Bench, Cost
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.simulate import STUDENTS
from dagster_project.store.publish import compare_snapshots

GOALS = {
    "nothing new": 3,
    "schedule, nothing new": 10,
    "one new day": 60,
    **dict.fromkeys(("a corrected file", "a late event", "a new learner", "an erased learner"), 80),
}
PARTS = ("dagster_project", "dbt", "expectations", "uv.lock", "pyproject.toml", "benchmarks")
SCHEDULE = """
import json, resource
from datetime import datetime, timezone
import dagster as dg
from dagster_project.definitions import defs
from dagster_project.defs.automation import daily
repository = defs.get_repository_def()
used = resource.getrusage(resource.RUSAGE_SELF)
asked = daily(dg.build_schedule_context(repository_def=repository, scheduled_execution_time=datetime.now(timezone.utc)))
assert isinstance(asked, dg.SkipReason), asked
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"tick": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime}))
"""
"""The daemon's question to a code server, which has the definitions already."""
EDITED = "dbt/models/reporting/program_retention.sql"


def run(
    bench: Bench, home: str, source: str, *options: str, landing: Path | None = None, project: Path = REPOSITORY
) -> Cost:
    """`make run`; the report has what it said it makes, and seconds by step."""
    command = [sys.executable, "-m", "dagster_project", "run", "--source", source, *options]
    cost = bench.command(home, [*command, *(["--landing", str(landing)] if landing else [])], project)
    text = cost.report["text"]
    said = re.search(r"^(\d+ of \d+ tables and pages|Nothing new)", text, re.MULTILINE)
    seconds = re.search(r"^Seconds: (.*)$", text, re.MULTILINE)
    return Cost(cost.cpu, cost.wall, cost.peak, {"said": said[1], "seconds": seconds[1] if seconds else ""})


def state_of(home: Path) -> dict[str, int]:
    """When each file of a warehouse was written, but for what every command copies there."""
    return {str(x): x.stat().st_mtime_ns for x in home.rglob("*") if x.is_file() and x.name != "dagster.yaml"}


def nothing_new(bench: Bench, home: str, source: str) -> list[tuple[str, Cost]]:
    """A run and the schedule's question where nothing is new.

    Raises:
        SystemExit: one of them wrote something.
    """
    before = state_of(bench.folder / home)
    found = [("nothing new", run(bench, home, source))]
    if changed := [path for path, at in state_of(bench.folder / home).items() if before.get(path) != at]:
        raise SystemExit(f"Nothing was new, and it wrote {changed}")
    asked = bench.command(home, [sys.executable, "-c", SCHEDULE])
    found.append(("schedule, nothing new", Cost(asked.report["tick"], asked.wall, asked.peak, {})))
    return found


def copy_of_project(folder: Path) -> Path:
    """The code in a folder of its own, so that it can be edited."""
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("logs", "__pycache__"))
        else:
            shutil.copy(REPOSITORY / part, folder / part)
    return folder


def correct_file(landing: Path) -> None:
    """A hundredth of the events of a day were seven minutes later."""
    file = sorted(landing.glob("events/events-*.parquet"))[-20]
    later = "case when hash(event_id) % 100 = 0 then occurred_at + interval 7 minute else occurred_at end"
    _write(f"select * replace ({later} as occurred_at) from '{file}'", file)


def add_late_event(landing: Path) -> None:
    """An event of a month ago, received on the last day."""
    files = sorted(landing.glob("events/events-*.parquet"))
    received = f"(select max(received_at) from '{files[-1]}')"
    late = (
        f"event_id + 1000000000 as event_id, occurred_at + interval 1 minute as occurred_at, {received} as received_at"
    )
    _write(f"select * replace ({late}) from '{files[-30]}' order by event_id limit 1", landing / "events/late.parquet")


def add_learner(landing: Path) -> None:
    """Somebody who does as another learner of the last term does, and did the same on its last day."""
    chosen, new = _active_learner(landing), "L9999001"
    for table in ("learners", "program_enrollments", "course_enrollments"):
        file = landing / f"{table}.csv"
        rows = [line.replace(chosen, new) for line in file.read_text().splitlines() if f'"{chosen}"' in line]
        with file.open("a") as lines:
            lines.writelines(f"{row}\n" for row in rows)
    newest = max(landing.glob("events/events-*.parquet"))
    events = f"select * replace ('{new}' as learner_id, event_id + 1000000000 as event_id) from '{newest}'"
    _write(f"{events} where learner_id = '{chosen}'", landing / "events/new-learner.parquet")


def _active_learner(landing: Path) -> str:
    newest = max(landing.glob("events/events-*.parquet"))
    query = f"select learner_id from '{newest}' group by learner_id order by count(*) desc, learner_id limit 1"
    return duckdb.sql(query).fetchall()[0][0]


def _write(query: str, file: Path) -> None:
    incoming = file.with_suffix(".incoming")
    duckdb.sql(f"copy ({query}) to '{incoming}' (format parquet)")
    incoming.replace(file)


def changes(bench: Bench, landing: Path) -> list[tuple[str, Cost]]:
    """Single changes, each with its run; then eight days later everything anew, and how that differs."""
    found = []
    for name, change in {
        "a corrected file": correct_file,
        "a late event": add_late_event,
        "a new learner": add_learner,
    }.items():
        change(landing)
        found.append((name, run(bench, "demo", "campus")))
    erased = ["erase", "--source", "campus", "--learner", _active_learner(landing)]
    cost = bench.command("demo", [sys.executable, "-m", "dagster_project", *erased])
    found.append(("an erased learner", Cost(cost.cpu, cost.wall, cost.peak, {})))
    with later(timedelta(days=8)):
        found.append(("eight days later", run(bench, "demo", "campus")))
        snapshots = bench.folder / "demo" / "published"
        lived = (snapshots / "current").resolve()
        found.append(("everything anew", run(bench, "demo", "campus", "--everything")))
    differences = compare_snapshots(Settings(home=bench.folder / "demo"), lived, (snapshots / "current").resolve())
    print("\n".join(differences) or "As lived and made anew: every row of every table is equal", flush=True)
    return found


@contextmanager
def later(time: timedelta) -> Generator[None]:
    """Runs go by a clock that is so much ahead."""
    os.environ["LEARNING_WAREHOUSE_CLOCK"] = (datetime.now(UTC) + time).strftime("%Y-%m-%dT%H:%M:%S")
    try:
        yield
    finally:
        del os.environ["LEARNING_WAREHOUSE_CLOCK"]


def campus(bench: Bench, students: int, has_changes: bool) -> list[tuple[str, Cost]]:
    """A first run, nothing, one day of events, nothing, single changes if asked for, one reporting model."""
    landing, held = bench.folder / "landing", bench.folder / "held.parquet"
    simulate(bench, "landing", students)
    rows = hold_back_last_day(landing, held)
    found = [(f"demo of {students:,}, first run", run(bench, "demo", "campus", landing=landing))]
    found += nothing_new(bench, "demo", "campus")
    shutil.move(held, landing / "events" / "one-day.parquet")
    found.append((f"one new day ({rows:,} events)", run(bench, "demo", "campus")))
    found += nothing_new(bench, "demo", "campus")
    if has_changes:
        found += changes(bench, landing)
    project = copy_of_project(bench.folder / "project")
    dbt = str(Path(sys.executable).parent / "dbt")
    (project / EDITED).write_text((project / EDITED).read_text() + "-- edited\n")
    bench.command("demo", [dbt, "--quiet", "parse", "--project-dir", "dbt", "--profiles-dir", "dbt"], project)
    found.append(("one reporting model edited", run(bench, "demo", "campus", project=project)))
    return found


def oulad(bench: Bench, archive: Path) -> list[tuple[str, Cost]]:
    """A first run, and nothing new."""
    first = run(bench, "oulad", "oulad", landing=archive)
    return [("OULAD, first run", first), *nothing_new(bench, "oulad", "oulad")]


def table(found: list[tuple[str, Cost]]) -> str:
    """What was measured, beside the goals."""
    lines = [f"{'':<36}{'CPU s':>8}{'wall s':>8}{'GiB':>6}  goal"]
    for name, cost in found:
        goal = next((f"<= {x}" for begin, x in GOALS.items() if name.startswith(begin)), "")
        lines.append(f"{name:<36}{cost.cpu:>8.1f}{cost.wall:>8.1f}{cost.peak / 2**30:>6.2f}  {goal}")
        if said := cost.report.get("said"):
            lines.append(f"    {said}  {cost.report['seconds']}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, default=STUDENTS, help="size of the demo; 0: leave it out")
    parser.add_argument("--oulad", type=Path, help="the zip of OULAD; left out when not given")
    parser.add_argument("--changes", action="store_true", help="single changes after the new day, and all made anew")
    parser.add_argument("--folder", type=Path, help="where the files go meanwhile; default: the temporary folder")
    arguments = parser.parse_args()
    print(f"DuckDB {duckdb.__version__}", flush=True)
    with tempfile.TemporaryDirectory(prefix="daily-bench-", dir=arguments.folder) as folder:
        bench = Bench(Path(folder), Path(folder))
        if arguments.oulad:
            print(table(oulad(bench, arguments.oulad)), flush=True)
        if arguments.students:
            print(table(campus(bench, arguments.students, arguments.changes)), flush=True)


if __name__ == "__main__":
    main()
