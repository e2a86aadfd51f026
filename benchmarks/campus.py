"""The simulated university at several sizes: how fast it is written, how long the warehouse takes to build it.

    python -m benchmarks.campus [--students 17960] [--only simulate bytes build] [--folder DIR]

Every measurement is a process of its own. CPU seconds are user and system of the process and all its children, so that
they hold on a machine that others use too; the slope is the exponent by which they grow with the size. At the size of
the report, `simulate` needs 7 GB in the folder, `build` 20 GB.
"""

import argparse
import hashlib
import math
import re
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb

from benchmarks.oulad import Bench, Cost, say
from dagster_project.simulate import STUDENTS

PARTS = ("simulate", "bytes", "build")
WRITTEN, BUILT = (1, 4, 16), (1, 4)
BYTES_STUDENTS = 2000
AIM_SLOPE, AIM_EVENTS = 1.05, 1e6


def simulate(bench: Bench, name: str, students: int, seed: int = 1) -> Cost:
    """Write a university to `<folder>/<name>`; the report has its number of events."""
    folder = bench.folder / name
    say(f"{name}: simulate {students:,} students, seed {seed}")
    command = [sys.executable, "-m", "dagster_project.simulate", "--students", str(students), "--seed", str(seed)]
    cost = bench.command(".", [*command, "--landing", str(folder)])
    events = int(re.search(r"^events +([\d,]+) rows", cost.report["text"], re.MULTILINE).group(1).replace(",", ""))
    return Cost(cost.cpu, cost.wall, cost.peak, {"events": events})


def hold_back_last_day(landing: Path, held: Path) -> int:
    """Take the events that were received on the last day out of a landing folder; their number."""
    file = max(landing.glob("events/*.parquet"))
    rows = f"read_parquet('{file}')"
    with duckdb.connect() as connection:
        (last,) = connection.execute(f"select max(cast(received_at as date)) from {rows}").fetchone()
        kept = file.with_suffix(".kept")
        for target, sign in ((kept, "<"), (held, "=")):
            chosen = f"from {rows} where cast(received_at as date) {sign} date '{last}'"
            connection.execute(f"copy ({chosen}) to '{target}' (format parquet)")
        kept.replace(file)
        return connection.execute(f"select count(*) from read_parquet('{held}')").fetchone()[0]


def run(bench: Bench, home: str, landing: Path) -> Cost:
    """`make run` on a landing folder; peak memory of the whole tree of processes, seconds by step in the report."""
    say(f"{home}: run")
    command = [sys.executable, "-m", "dagster_project", "run", "--source", "campus", "--landing", str(landing)]
    cost = bench.command(home, command)
    gib = float(re.search(r"([\d.]+) GiB of memory at most", cost.report["text"]).group(1))
    seconds = re.search(r"^Seconds: (.*)$", cost.report["text"], re.MULTILINE).group(1)
    return Cost(cost.cpu, cost.wall, int(gib * 2**30), {"seconds": seconds})


def slope(costs: dict[int, Cost]) -> float:
    """Exponent of the growth of CPU seconds from the smallest to the largest size."""
    small, large = min(costs), max(costs)
    return math.log(costs[large].cpu / costs[small].cpu) / math.log(large / small)


def measure_simulate(bench: Bench, students: int) -> list[str]:
    costs = {}
    for times in WRITTEN:
        costs[times] = simulate(bench, "landing", times * students)
        shutil.rmtree(bench.folder / "landing")
    lines = [f"{'simulate':<12}{'events':>14}{'CPU s':>8}{'wall s':>8}{'events a CPU s':>16}{'MiB':>7}"]
    for times, cost in costs.items():
        events = cost.report["events"]
        lines.append(
            f"  {times:>2} ×      {events:>14,}{cost.cpu:>8.1f}{cost.wall:>8.1f}{events / cost.cpu:>16,.0f}"
            f"{cost.peak / 2**20:>7.0f}"
        )
    return [
        *lines,
        f"  slope {slope(costs):.3f} (aim: at most {AIM_SLOPE}); aim: {AIM_EVENTS:,.0f} events a second",
    ]


def measure_bytes(bench: Bench, students: int) -> list[str]:
    hashes = []
    for seed in (1, 1, 2):
        simulate(bench, "landing", min(students, BYTES_STUDENTS), seed)
        landing = bench.folder / "landing"
        files = sorted(path for path in landing.rglob("*") if path.is_file())
        hashes.append({str(x.relative_to(landing)): hashlib.sha256(x.read_bytes()).hexdigest() for x in files})
        shutil.rmtree(landing)
    first, again, other = hashes
    if first != again:
        raise SystemExit(f"One seed, two deliveries: {[x for x in first if first[x] != again.get(x)]}")
    different = sum(first[name] != other.get(name) for name in first)
    return [f"one seed twice: {len(first)} files equal, byte by byte; another seed: {different} of them different"]


def measure_build(bench: Bench, students: int) -> list[str]:
    lines = [f"{'build':<28}{'CPU s':>8}{'wall s':>8}{'GiB':>6}"]
    full = {}
    for times in BUILT:
        landing, held = bench.folder / "landing", bench.folder / "held.parquet"
        simulate(bench, "landing", times * students)
        rows = hold_back_last_day(landing, held)
        full[times] = run(bench, "home", landing)
        shutil.move(held, landing / "events" / "one-day.parquet")
        day = run(bench, "home", landing)
        for name, cost in ((f"{times} ×, all before", full[times]), (f"{times} ×, {rows:,} events", day)):
            lines.append(
                f"  {name:<20}{cost.cpu:>8.1f}{cost.wall:>8.1f}{cost.peak / 2**30:>6.2f}   {cost.report['seconds']}"
            )
        for folder in ("landing", "home"):
            shutil.rmtree(bench.folder / folder)
    return [*lines, f"  slope of the full build {slope(full):.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, default=STUDENTS, help="size of 1 ×")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument(
        "--folder", type=Path, help="where the files go meanwhile; default: the system's temporary folder"
    )
    arguments = parser.parse_args()
    measures = {"simulate": measure_simulate, "bytes": measure_bytes, "build": measure_build}
    with tempfile.TemporaryDirectory(prefix="campus-bench-", dir=arguments.folder) as folder:
        bench = Bench(Path(folder), Path(folder))
        for part in PARTS:
            if part in arguments.only:
                print("\n".join(measures[part](bench, arguments.students)), flush=True)


if __name__ == "__main__":
    main()
