"""The whole OULAD run against one script written by hand that makes the same marts from the same zip.

    python -m benchmarks.oulad --zip anonymisedData.zip [--runs 3] [--only by_hand run parts new_day start bookkeeping]

Every measurement is a process of its own, on a fresh warehouse in a temporary folder (some 4 GB). CPU seconds are user
and system of the process and all its children, so that they hold on a machine that others use too; of several runs the
median counts. `benchmarks/by_hand.sql` is the script; that its tables equal ours is proved before anything is printed.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_project.defs.partitions import rebuild_window
from dagster_project.settings import REPOSITORY, Settings

PARTS = ("by_hand", "run", "parts", "new_day", "start", "bookkeeping")
AIM_RATIO, AIM_BYTES, AIM_START_SECONDS, AIM_NEW_DAY = 2.0, 2 * 2**30, 40.0, 0.05
# Both with some 16,000 clicks rows in all seven presentations that run then. The first is the last day of a week: it
# adds 7 course weeks with all their learners. The second adds nothing but itself.
NEW_DAYS = {"2015-05-26": "that ends a week", "2015-05-27": "within a week"}
PARTITION_COUNTS = (100, 900)


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds, peak bytes, and what the process itself reported."""

    cpu: float
    wall: float
    peak: int
    report: dict


class Bench:
    """Runs steps as processes, in warehouses below one temporary folder."""

    def __init__(self, folder: Path, landing: Path) -> None:
        self.folder, self.landing = folder, landing.resolve()

    def command(self, home: str, command: list[str], project: Path = REPOSITORY) -> Cost:
        """Run a command in a warehouse and wait for it and its children; its last line may be a JSON report.

        Args:
            project: the code that it runs.

        Raises:
            SystemExit: it failed; with the end of what it wrote.
        """
        environment = {**os.environ, "LEARNING_WAREHOUSE_HOME": str(self.folder / home), "DO_NOT_TRACK": "1"}
        environment |= {"DAGSTER_HOME": str(self.folder / home / "dagster"), "GX_ANALYTICS_ENABLED": "false"}
        with tempfile.TemporaryFile("w+") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = time.monotonic() - started
            output.seek(0)
            text = output.read()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{text[-4000:]}")
        last = text.strip().rpartition("\n")[2]
        report = json.loads(last) if last.startswith("{") else {"text": text}
        return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, report)

    def step(self, home: str, name: str, *arguments: object) -> Cost:
        say(f"{home}: {name} {' '.join(str(x) for x in arguments)}")
        return self.command(
            home, [sys.executable, "-m", "benchmarks.oulad_steps", name, *(str(argument) for argument in arguments)]
        )

    def dbt(self, home: str, verb: str, *arguments: str, rebuild: dict | None = None) -> tuple[Cost, dict[str, float]]:
        """One dbt start, with what was parsed before at hand, as a run starts it; seconds by model."""
        say(f"{home}: dbt {verb} {' '.join(arguments)}")
        target = self.folder / home / "target"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy(REPOSITORY / "dbt/target/partial_parse.msgpack", target)
        command = [str(Path(sys.executable).parent / "dbt"), verb, "--project-dir", "dbt", "--profiles-dir", "dbt"]
        command += ["--target-path", str(target), "--log-path", str(target), *arguments]
        cost = self.command(home, [*command, "--vars", json.dumps({"rebuild": rebuild or {}})])
        results = target / "run_results.json"
        nodes = json.loads(results.read_text())["results"] if results.exists() else []
        seconds = {node["unique_id"]: node["execution_time"] for node in nodes}
        return cost, {name.split(".")[-1]: value for name, value in seconds.items() if name.startswith("model.")}

    def build(self, home: str, landing: Path) -> tuple[Cost, Cost, dict[str, float]]:
        """Load what is new and run the models on it: cost of loading, of dbt, and seconds by model."""
        days = [date.fromisoformat(day) for day in self.step(home, "plan", landing).report["days"]]
        loading = self.step(home, "load", landing)
        window = rebuild_window(*days, (date.fromisoformat(day) for day in loading.report["changed"]))
        untested = ("--exclude-resource-type", "test", "unit_test")
        models, seconds = self.dbt(home, "build", *untested, rebuild={"oulad": window})
        self.step(home, "clear_marks")
        return loading, models, seconds

    def compare(self, ours: Path) -> str:
        """Prove that a database of ours holds the same rows as the one written by hand.

        Raises:
            SystemExit: it does not; with what differs.
        """
        report = self.step("by_hand", "compare", self.by_hand_database, ours).report
        if report["differences"]:
            raise SystemExit("The tables differ:\n" + "\n".join(report["differences"]))
        return f"{report['rows']:,} rows of 8 tables are equal, row by row, both ways, in every column but inputs_hash"

    @property
    def by_hand_database(self) -> Path:
        return self.folder / "by_hand" / "by_hand.duckdb"

    def clear(self, home: str) -> None:
        shutil.rmtree(self.folder / home, ignore_errors=True)

    # --- what is measured

    def by_hand(self) -> dict[str, Cost]:
        self.clear("by_hand")
        (self.folder / "by_hand").mkdir()
        return {"by hand": self.step("by_hand", "by_hand", self.landing, self.by_hand_database)}

    def run(self) -> dict[str, Cost]:
        self.clear("run")
        say("run: python -m dagster_project run")
        command = [sys.executable, "-m", "dagster_project", "run", "--source", "oulad", "--landing", str(self.landing)]
        cost = self.command("run", command)
        # It samples the memory of the whole process tree; the system knows only the largest single process.
        gib = float(re.search(r"([\d.]+) GiB of memory at most", cost.report["text"]).group(1))
        cost = Cost(cost.cpu, cost.wall, int(gib * 2**30), self.step("run", "partition_events").report)
        if self.by_hand_database.exists():
            say(self.compare(self.folder / "run/published/learning_warehouse.duckdb"))
        return {"whole run": cost}

    def parts(self) -> dict[str, Cost]:
        self.clear("parts")
        loading, models, seconds = self.build("parts", self.landing)
        empty, _ = self.dbt("parts", "run", "--select", "nothing", rebuild={"none": {"dates": []}})
        tests, _ = self.dbt("parts", "test", "--exclude-resource-type", "unit_test")
        publishing = self.step("parts", "publish")
        if self.by_hand_database.exists():
            say(self.compare(self.folder / "parts/published/learning_warehouse.duckdb"))
        return {
            "load": Cost(loading.report["cpu"], loading.wall, loading.peak, loading.report),
            "models": Cost(models.cpu - empty.cpu, models.wall - empty.wall, models.peak, {"models": seconds}),
            "publish": Cost(publishing.report["cpu"], publishing.wall, publishing.peak, {}),
            "dbt start": empty,
            "dbt tests": Cost(tests.cpu - empty.cpu, tests.wall - empty.wall, tests.peak, {}),
        }

    def new_day(self) -> dict[str, Cost]:
        self.clear("new_day")
        deliveries = self.folder / "new_day" / "landing"
        deliveries.mkdir(parents=True)
        rows = self.step("new_day", "deliver_by_day", self.landing, deliveries, *NEW_DAYS).report["rows"]
        landing = deliveries / "base"
        _, models, full = self.build("new_day", landing)
        empty, _ = self.dbt("new_day", "run", "--select", "nothing", rebuild={"none": {"dates": []}})
        costs = {"full build": Cost(models.cpu - empty.cpu, sum(full.values()), models.peak, {"models": full})}
        for day in (*NEW_DAYS, "rest"):
            shutil.move(deliveries / f"studentVle-{day}.csv", landing)
            loading, models, seconds = self.build("new_day", landing)
            report = {"models": seconds, "rows": rows[day]}
            report |= {"load": loading.report["cpu"]}
            costs[f"new day {day}"] = Cost(models.cpu - empty.cpu, sum(seconds.values()), models.peak, report)
        if self.by_hand_database.exists():
            say("built day by day: " + self.compare(self.folder / "new_day/build.duckdb"))
        return costs

    def start(self) -> dict[str, Cost]:
        cost = self.step("start", "imports")
        report = cost.report
        return {
            "import definitions": Cost(report["definitions"], cost.wall, cost.peak, {}),
            "import great_expectations": Cost(report["great_expectations"], 0, cost.peak, {}),
        }

    def bookkeeping(self) -> dict[str, Cost]:
        few, many = (self.step("bookkeeping", "bookkeeping", days) for days in PARTITION_COUNTS)
        each = (many.report["cpu"] - few.report["cpu"]) / (PARTITION_COUNTS[1] - PARTITION_COUNTS[0])
        return {"partition event": Cost(each, 0, many.peak, {})}


def say(line: str) -> None:
    print(f"  {line[:150]}", file=sys.stderr, flush=True)


def median(costs: list[Cost]) -> Cost:
    """Of each figure the median over the runs; the largest peak; the last report."""
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        max(cost.peak for cost in costs),
        costs[-1].report,
    )


def table(costs: dict[str, Cost]) -> list[str]:
    """The figures that were measured, their ratios to the script, and the aims beside them."""
    lines = [f"{'':<44}{'CPU s':>8}{'wall s':>8}{'GiB':>6}{'CPU / by hand':>15}   aim"]
    hand, run = costs.get("by hand"), costs.get("whole run")

    def add(name: str, cpu: float, wall: float = 0, peak: int = 0, aim: str = "") -> None:
        ratio = f"{cpu / hand.cpu:.2f}" if hand else ""
        shown_wall = f"{wall:.1f}" if wall else ""
        shown_peak = f"{peak / 2**30:.2f}" if peak else ""
        lines.append(f"{name:<44}{cpu:>8.1f}{shown_wall:>8}{shown_peak:>6}{ratio:>15}   {aim}".rstrip())

    def verdict(value: float, aim: float, write: Callable[[float], str]) -> str:
        return f"{write(value)}, aim ≤ {write(aim)}: " + (
            "kept" if value <= aim else f"MISSED by {write(value - aim)} ({value / aim - 1:.0%})"
        )

    if hand:
        add("script by hand", hand.cpu, hand.wall, hand.peak)
    if run:
        aim = verdict(run.peak, AIM_BYTES, lambda value: f"{value / 2**30:.2f} GiB")
        add("whole run", run.cpu, run.wall, run.peak, aim)
        if hand:
            lines.append(f"{'  wall / by hand':<44}{'':>8}{run.wall / hand.wall:>8.2f}")
    accounted = 0.0
    if work := [costs[name] for name in ("load", "models", "publish") if name in costs]:
        for name, cost in zip(("load", "models", "publish"), work, strict=True):
            add(f"  {name}", cost.cpu, cost.wall, cost.peak)
        accounted += (total := sum(cost.cpu for cost in work))
        aim = verdict(total / hand.cpu, AIM_RATIO, lambda value: f"{value:.2f} ×") if hand else ""
        add("  load + models + publish", total, 0, max(cost.peak for cost in work), aim)
    start = ("import definitions", "import great_expectations", "dbt start")
    if costs.keys() >= set(start):
        for name in start:
            add(f"  {name}", costs[name].cpu)
        accounted += (total := sum(costs[name].cpu for name in start))
        add("  start-up in all", total, 0, 0, verdict(total, AIM_START_SECONDS, lambda value: f"{value:.1f} CPU s"))
    if "dbt tests" in costs:
        accounted += costs["dbt tests"].cpu
        add("  dbt tests", costs["dbt tests"].cpu, costs["dbt tests"].wall)
    if each := costs.get("partition event"):
        if run:
            count = run.report["count"]
            accounted += each.cpu * count
            add(f"  Dagster: {count:,} partitions at {1000 * each.cpu:.1f} ms", each.cpu * count)
        else:
            lines.append(f"  Dagster: {1000 * each.cpu:.1f} CPU ms a partition event")
    if run and costs.keys() >= {"load", "partition event", *start}:
        add("  rest: Great Expectations, lineage, steps", run.cpu - accounted)
    if full := costs.get("full build"):
        lines += ["", f"{'':<44}{'model s':>8}{'%':>6}{'CPU s':>7}{'%':>6}{'load CPU s':>12}   aim for model s"]
        lines.append(f"{'full build, of all days before':<44}{full.wall:>8.1f}{100:>6}{full.cpu:>7.1f}{100:>6}")
        for day, what in NEW_DAYS.items():
            cost = costs[f"new day {day}"]
            name, share = f"new day {what}, {cost.report['rows']:,} rows", cost.wall / full.wall
            shares = f"{cost.wall:>8.1f}{100 * share:>6.1f}{cost.cpu:>7.1f}{100 * cost.cpu / full.cpu:>6.1f}"
            aim = verdict(share, AIM_NEW_DAY, lambda value: f"{value:.1%}")
            lines.append(f"{name:<44}{shares}{cost.report['load']:>12.1f}   {aim}")
    for name in ("models", "full build", *(f"new day {day}" for day in NEW_DAYS)):
        if name in costs:
            seconds = costs[name].report["models"]
            longest = sorted(seconds, key=seconds.get, reverse=True)[:8]
            shown = ", ".join(f"{model} {seconds[model]:.2f}" for model in longest)
            lines += ["", f"{name}: {len(seconds)} models in {sum(seconds.values()):.1f} s. {shown}"]
    return lines


def machine(landing: Path) -> str:
    import psutil

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    settings = Settings()
    return (
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}; engine: "
        f"{settings.threads} threads, {settings.memory_limit}; {landing.name}, {landing.stat().st_size / 2**20:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zip", type=Path, required=True, help="anonymisedData.zip of the Open University")
    parser.add_argument("--runs", type=int, default=1, help="repeat everything; medians are printed")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    arguments = parser.parse_args()
    measured: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="oulad-bench-") as folder:
        bench = Bench(Path(folder), arguments.zip)
        for _ in range(arguments.runs):
            for part in PARTS:
                if part in arguments.only:
                    for name, cost in getattr(bench, part)().items():
                        measured.setdefault(name, []).append(cost)
    print(machine(arguments.zip))
    print("\n".join(table({name: median(costs) for name, costs in measured.items()})))


if __name__ == "__main__":
    main()
