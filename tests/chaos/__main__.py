"""`make chaos`: disturbs runs of a small university and shows that one clean run after it puts everything right.

Every episode has a warehouse of its own. It starts from nothing, or from a warehouse that lacks the newest days, is
disturbed, and then run once without disturbance. Published snapshot, build database, raw, quarantine, identities and
ledger must then be those of a warehouse that was never disturbed, row by row, but for `WALL_CLOCK_COLUMNS`; nothing
half-made may lie about. A reader polls the published snapshot all the while.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from dagster_project import simulate
from tests.chaos import faults
from tests.chaos.faults import Fault, MissedError, Prepared, SkippedError, Stage
from tests.chaos.harness import FOLLOWING, PHASES, ChaosError, Home, Line, Seen, copy_home, differences, reader

STUDENTS, SEED = 40, 7
KILLS = 52
NEWEST_FILES = 6
FROM_NOTHING = 8  # every so many-th killed run is a first one
FOLLOWED = 10  # every so many-th kill meets what a command does after it has published
LANES = 3  # two cores, and runs that wait
MINUTES = 57  # after so many no episode begins
TOO_LATE = "the time was up before it could begin"
ATTEMPTS = 4  # at an episode of which the drawn moment came too late


@dataclass
class Outcome:
    """What came of an episode; `phases`: those in which it killed a run."""

    fault: str
    start: str
    what: str
    phases: tuple[str, ...]
    seconds: float
    problems: list[str]
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        return not (self.problems or self.skipped)


def main() -> int:
    arguments = _parser().parse_args()
    started = time.monotonic()
    memory = Path("/dev/shm")  # noqa: S108 - Dagster commits thousands of times; kills lose nothing of a page cache
    folder = arguments.reuse or Path(
        tempfile.mkdtemp(prefix="chaos-", dir=arguments.folder or (memory if memory.is_dir() else None))
    )
    seen, guard, outcomes = Seen(), threading.Lock(), []
    try:
        prepared = _prepared(folder, started)
        episodes = _episodes(arguments.kills, arguments.only)
        deadline = started + 60 * arguments.minutes
        with ThreadPoolExecutor(LANES) as lanes:
            for number, outcome in enumerate(
                lanes.map(
                    lambda numbered: _play(prepared, numbered[0], *numbered[1], seen, guard, deadline),
                    enumerate(episodes),
                )
            ):
                outcomes.append(outcome)
                state = "skipped" if outcome.skipped else "FAILED" if outcome.problems else "as undisturbed"
                _say(
                    started,
                    f"{number + 1}/{len(episodes)}  {outcome.fault}, {outcome.start}: {outcome.what}: {state}",
                )
                for problem in outcome.problems:
                    print(f"    {problem}", flush=True)
    finally:
        if arguments.keep or arguments.reuse:
            print(f"Everything lies in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print_table(outcomes, seen, time.monotonic() - started)
    is_bad = seen.errors or seen.mixed or any(x.problems or x.skipped == TOO_LATE for x in outcomes)
    return 1 if is_bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"runs to kill, {KILLS} unless told otherwise")
    parser.add_argument("--only", nargs="+", help="faults whose names begin so, such as 'kill' or 'disk'")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no episode begins")
    parser.add_argument("--folder", type=Path, help="where the warehouses lie; default: in memory")
    parser.add_argument("--keep", action="store_true", help="leave the warehouses where they are")
    parser.add_argument("--reuse", type=Path, help="folder of an earlier call with --keep: nothing is prepared anew")
    return parser


def _prepared(folder: Path, started: float) -> Prepared:
    """The university, the warehouse of the day before, and the undisturbed runs; what is there already is taken."""
    landing, earlier_landing = folder / "landing", folder / "earlier-landing"
    told = folder / "lines.json"
    if not told.exists():
        simulate.write(landing, folder / "truth.json", SEED, STUDENTS)
    newest = _newest_files(landing)
    _say(started, f"A university of {STUDENTS} degree learners; newest: {', '.join(newest)}")
    nothing, increment = Home(folder / "undisturbed-nothing", landing), Home(folder / "undisturbed-increment", landing)
    earlier = Home(folder / "earlier", earlier_landing)

    def first() -> list[Line]:
        nothing.folder.mkdir()
        return nothing.run_cleanly().lines

    def later() -> list[Line]:
        shutil.copytree(landing, earlier_landing, ignore=shutil.ignore_patterns(*(Path(x).name for x in newest)))
        earlier.folder.mkdir()
        earlier.run_cleanly()
        copy_home(earlier, increment.folder, landing)
        return increment.run_cleanly().lines

    if not told.exists():
        with ThreadPoolExecutor(2) as pool:
            starts = {"nothing": pool.submit(first), "increment": pool.submit(later)}
            told.write_text(json.dumps({start: run.result() for start, run in starts.items()}))
    lines = {start: [Line(*line) for line in there] for start, there in json.loads(told.read_text()).items()}
    for start, there in lines.items():
        seconds = dict.fromkeys((*PHASES, FOLLOWING), 0.0)
        for line, following in pairwise(there):
            if line.phase in seconds:
                seconds[line.phase] += following.seconds - line.seconds
        phases = ", ".join(f"{phase} {value:.0f} s" for phase, value in seconds.items())
        _say(started, f"An undisturbed run from {start}: {there[-1].seconds:.0f} s; {phases}")
    return Prepared(folder, landing, earlier, {"nothing": nothing, "increment": increment}, lines, newest)


def _newest_files(landing: Path) -> list[str]:
    """The newest deliveries: the last days of events, the last month of submissions and of responses."""
    files = sorted(str(path.relative_to(landing)) for path in landing.rglob("*") if path.is_file())
    events = [name for name in files if Path(name).name.startswith("events")][-NEWEST_FILES:]
    others = [[name for name in files if Path(name).name.startswith(table)][-1:] for table in ("submissions", "resp")]
    return [*events, *others[0], *others[1]]


def _episodes(kills: int, only: Sequence[str] | None) -> list[tuple[Fault, str, tuple[str, ...]]]:
    """(fault, start, phases of its kills) of every episode.

    An episode kills four runs, each in another phase, and loading first: later there is nothing left to load. What
    follows a publication is killed apart: after another kill a run has nothing left for later. The
    faults of other kinds come first: what is not begun in time is a kill.
    """
    episodes: list[tuple[Fault, str, tuple[str, ...]]] = []
    followed = -(-kills // FOLLOWED)
    kills -= followed
    for number in range(-(-kills // len(PHASES))):
        later = [PHASES[1 + (number + place) % (len(PHASES) - 1)] for place in range(len(PHASES) - 1)]
        phases = (PHASES[0], *later)[: kills - number * len(PHASES)]
        only_parent = number % 5 == 1
        name = "kill of the parent alone" if only_parent else "kill"
        start = "nothing" if number % FROM_NOTHING == 0 else "increment"
        episodes.append((Fault(name, partial(faults.kill, phases=phases, only_parent=only_parent)), start, phases))
    following = Fault("kill of what follows", partial(faults.kill, phases=(FOLLOWING,)))
    episodes += [(following, "increment", (FOLLOWING,))] * followed
    others = [
        *(Fault("disk full", partial(faults.disk_full, phase=phase), place=faults.small_disk) for phase in PHASES),
        Fault("disk full", partial(faults.disk_small, share=0.3), place=faults.small_disk),
        *(
            Fault("corrupt landing file", partial(faults.corrupt, how=how), own_landing=True)
            for how in ("cut off", "flipped", "other bytes")
        ),
        Fault("late, twice and out of order", faults.late_twice_and_out_of_order, own_landing=True),
        Fault("lock held", faults.lock_held),
        Fault("database open", faults.database_open),
        Fault("two runs at once", faults.two_at_once),
        *(
            Fault("no permission", partial(faults.no_permission, where=where), own_landing=where == "landing")
            for where in ("landing", "raw", "published/snapshots", "artifacts/pages")
        ),
        *(Fault("clock moved", partial(faults.clock_moved, days=days), clock_moved=True) for days in (-400, 2)),
    ]
    episodes = [*((fault, "increment", ()) for fault in others), *episodes]
    return [episode for episode in episodes if only is None or episode[0].name.startswith(tuple(only))]


def _play(
    prepared: Prepared,
    number: int,
    fault: Fault,
    start: str,
    phases: tuple[str, ...],
    seen: Seen,
    guard: threading.Lock,
    deadline: float,
) -> Outcome:
    """One episode in a folder of its own, which is gone afterwards unless something was wrong."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"episode-{number:02}-", dir=prepared.folder))
    outcome = Outcome(fault.name, start, "", phases, 0.0, [])
    if started > deadline:
        outcome.skipped = TOO_LATE
        shutil.rmtree(folder)
        return outcome
    for attempt in range(ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stage = Stage(prepared, folder, start, random.Random(f"{SEED} {number} {attempt}"))  # noqa: S311
        try:
            with fault.place(folder / "home") if fault.place else nullcontext(folder / "home") as place:
                home = stage.home(place, own_landing=fault.own_landing)
                with reader(home, seen, guard, clock_moved=fault.clock_moved):
                    outcome.what = fault.disturb(stage, home)
                    home.run_cleanly()
                outcome.problems = differences(stage.expected or prepared.undisturbed[start], home)
        except MissedError as error:
            outcome.problems = [str(error)]
            continue
        except SkippedError as error:
            outcome.skipped = str(error)
        except ChaosError as error:
            outcome.problems = [str(error)]
        except Exception:
            outcome.problems = [traceback.format_exc()]
        break
    if not outcome.problems:
        shutil.rmtree(folder, ignore_errors=True)
    outcome.seconds = time.monotonic() - started
    return outcome


def _print_table(outcomes: list[Outcome], seen: Seen, seconds: float) -> None:
    print(f"\n{'fault':<32}{'episodes':>9}{'kills':>7}{'as undisturbed':>16}{'skipped':>9}{'seconds':>9}")
    for name in dict.fromkeys(outcome.fault for outcome in outcomes):
        those = [outcome for outcome in outcomes if outcome.fault == name]
        good = sum(outcome.is_good for outcome in those)
        skipped = sum(bool(outcome.skipped) for outcome in those)
        kills = sum(len(outcome.phases) for outcome in those if outcome.is_good)
        print(
            f"{name:<32}{len(those):>9}{kills or '':>7}{good:>16}{skipped or '':>9}"
            f"{sum(x.seconds for x in those):>9.0f}"
        )
    for (fault, why), count in Counter((x.fault, x.skipped) for x in outcomes if x.skipped).items():
        print(f"skipped: {fault}, {count} times: {why}")
    phases = Counter(phase for outcome in outcomes if outcome.is_good for phase in outcome.phases)
    print(
        f"readers: {seen.polls:,} polls of {seen.snapshots:,} snapshots, {len(seen.errors)} errors, "
        f"{len(seen.mixed)} mixed snapshots"
    )
    for wrong in [*seen.errors, *seen.mixed][:10]:
        print(f"  {wrong}")
    told = ", ".join(f"{phases[phase]} in {phase}" for phase in (*PHASES, FOLLOWING))
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) / 60
    print(f"{phases.total()} kills survived ({told}), {seconds / 60:.0f} minutes, {used:.0f} minutes of CPU")


def _say(started: float, line: str) -> None:
    print(f"{(time.monotonic() - started) / 60:5.1f} min  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
