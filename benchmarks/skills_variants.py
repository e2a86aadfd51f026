"""Planted against estimated where skills are harder to measure: the variants of the simulated university.

    python -m benchmarks.skills_variants [--students 17960] [--only hidden shock chosen growth] [--folder DIR]

Of each variant (`python -m dagster_project.simulate --help` tells what they are) the landing files are written and
loaded, the models that skills are read from are built, and their tables are made, by the code and with the settings of
a run, but without tests and publication. Then `benchmarks/skills.py` prints what was planted and what was found. Events
say no more to skills than how far the data reach: those of the newest month are delivered. Every step is a process of
its own.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.oulad import Bench, say
from dagster_project.analyses.skills.analysis import READS, TABLES, analyse_skills
from dagster_project.analyses.tables import CONTRACTS as ANALYTICS
from dagster_project.analyses.tables import write_frames
from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.settings import Settings
from dagster_project.simulate import STUDENTS, VARIANTS
from dagster_project.store.warehouse import Warehouse

SOURCE = "campus"


def load(landing: Path) -> dict:
    """Loads the landing files into the warehouse of the settings; the event days that models are to be built for."""
    from dagster_project.base import clock
    from dagster_project.defs.partitions import event_days, rebuild_window
    from dagster_project.ingest.ledger import Ledger
    from dagster_project.ingest.loader import ensure_empty_files, load_table
    from dagster_project.ingest.sources import Source, register_source

    settings = Settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    source = Source(SOURCE, SOURCE, landing)
    register_source(settings, source, CONTRACTS)
    days = event_days(source, settings, clock.today())
    for contract in CONTRACTS.values():
        ensure_empty_files(contract, settings)
    Warehouse(settings).restore(list(ANALYTICS.values()))
    for table in CONTRACTS[SOURCE].tables:
        load_table(CONTRACTS[SOURCE], table.name, SOURCE, landing, settings)
    return rebuild_window(*days, Ledger(settings).marked_dates(SOURCE, SOURCE).dates)


def analyse() -> None:
    """Makes the tables of skills from the marts as if for the first time, and tells which of their checks fail."""
    import dagster as dg

    from dagster_project.defs.resources import WarehouseResource
    from dagster_project.defs.skills import checks

    settings = Settings()
    store = Warehouse(settings)
    shutil.rmtree(settings.artifacts_dir / "skills", ignore_errors=True)  # banks are frozen, and benchmarks kept
    for table in TABLES:
        write_frames(store, table, [])
    frames = analyse_skills(store, settings, say)
    for table in TABLES:
        write_frames(store, table, frames[table])
    for name, check in vars(checks).items():
        if isinstance(check, dg.AssetChecksDefinition):
            result = check(WarehouseResource())
            if not result.passed:
                print(f"check {name} fails: {result.metadata['found'].value}")


def hold_back_events(landing: Path) -> None:
    """Takes the events of all months but the newest, which lie in files of a day, out of a landing folder."""
    for file in landing.glob("events/events-????-??.parquet"):
        file.unlink()


def measure(bench: Bench, variant: str, students: int, seed: int, *, again: bool) -> str:
    """Makes a variant's tables of skills; what was planted beside what was found, and the seconds of each step."""
    landing, truth, home = (bench.folder / variant / name for name in ("landing", "truth.json", "home"))
    seconds = {}

    def step(name: str, module: str, *arguments: object) -> dict:
        say(f"{variant}: {name}")
        command = [sys.executable, "-m", module, *(str(argument) for argument in arguments)]
        cost = bench.command(f"{variant}/home", command)
        seconds[name] = cost.wall
        return cost.report

    if not again:
        shutil.rmtree(bench.folder / variant, ignore_errors=True)
        world = ("--students", students, "--seed", seed, "--skills", variant)
        step("simulate", "dagster_project.simulate", *world, "--landing", landing, "--truth", truth)
        hold_back_events(landing)
        window = step("load", "benchmarks.skills_variants", "--load", landing)
        models = [f"+{name.partition('.')[2]}" for name in READS if not name.startswith("analytics.")]
        untested = ("--exclude-resource-type", "test", "unit_test")
        built, _ = bench.dbt(f"{variant}/home", "build", "--select", *models, *untested, rebuild={SOURCE: window})
        seconds["models"] = built.wall
    told = step("skills", "benchmarks.skills_variants", "--analyse")["text"]
    found = step("compare", "benchmarks.skills", "--warehouse", home, "--truth", truth)["text"]
    costs = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    made = json.loads((landing / "simulated.json").read_text())
    return f"## {variant}: {made['students']:,} students, seed {made['seed']}\n\n{found}\n{told}\nseconds: {costs}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=STUDENTS, help="degree learners with a known first year")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=VARIANTS, help="variants to measure")
    parser.add_argument("--folder", type=Path, help="where files and warehouses go, and stay; default: a temporary one")
    parser.add_argument(
        "--again", action="store_true", help="make the tables of skills again from the models that lie in the folder"
    )
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--analyse", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.again and not arguments.folder:
        parser.error("--again needs the --folder of the measurement whose models it is to take")
    if arguments.load:
        print(json.dumps(load(arguments.load)))
    elif arguments.analyse:
        analyse()
    else:
        with tempfile.TemporaryDirectory(prefix="skills-bench-") as temporary:
            bench = Bench((arguments.folder or Path(temporary)).resolve(), Path(temporary))
            for variant in arguments.only:
                print(measure(bench, variant, arguments.students, arguments.seed, again=arguments.again), flush=True)


if __name__ == "__main__":
    main()
