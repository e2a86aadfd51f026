"""The faults. Each disturbs a warehouse of its own and says in a few words what it did; a clean run comes after it."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.settings import REPOSITORY
from tests.chaos.harness import ChaosError, Home, Moment, copy_home, draw_moment, kill_at

MIB = 1 << 20
ROOMY = 4 << 30
DRAWS = 3


class SkippedError(Exception):
    """The fault cannot be made on this machine; the message says why."""


class MissedError(ChaosError):
    """A moment that was drawn came too late: the episode has to begin again with another."""


@dataclass
class Prepared:
    """What episodes start from, made once.

    Attributes:
        landing: landing place with everything.
        earlier: a warehouse with all but the newest days, published.
        undisturbed: by start ("nothing", "increment"), a warehouse in which one run did what an episode has to reach.
        lines: by start, the progress of that run.
        newest: names of the landing files that the increment brings.
    """

    folder: Path
    landing: Path
    earlier: Home
    undisturbed: dict[str, Home]
    lines: dict[str, list]
    newest: list[str]


@dataclass
class Stage:
    """One episode's warehouse, and the random numbers that are its own.

    Attributes:
        expected: the warehouse to reach, where it is not the undisturbed one of the start.
    """

    prepared: Prepared
    folder: Path
    start: str
    random: random.Random
    expected: Home | None = None

    def home(self, folder: Path | None = None, *, own_landing: bool = False) -> Home:
        """The warehouse to disturb, as it is before the newest days (or nothing) were loaded."""
        folder = folder or self.folder / "home"
        landing = self.prepared.landing
        if own_landing:
            landing = self.folder / "landing"
            shutil.copytree(self.prepared.landing, landing)
        if self.start == "nothing":
            folder.mkdir(parents=True, exist_ok=True)
            return Home(folder, landing)
        return copy_home(self.prepared.earlier, folder, landing)


Disturb = Callable[[Stage, Home], str]


@dataclass(frozen=True)
class Fault:
    """How to disturb.

    Attributes:
        disturb: leaves the warehouse for the clean run; returns what it did.
        own_landing: whether it changes landing files.
        clock_moved: whether snapshot ids need not grow.
        place: context of a folder to use as home instead of a plain one.
    """

    name: str
    disturb: Disturb
    own_landing: bool = False
    clock_moved: bool = False
    place: Callable[[Path], object] | None = None


# --- kill -9


def kill(stage: Stage, home: Home, phases: tuple[str, ...], *, only_parent: bool = False) -> str:
    """Kill a run in each of the phases, one run after the other; every one meets what the one before it left."""
    told = []
    for phase in phases:
        moment = _kill_in(stage, home, phase, only_parent=only_parent)
        told.append(f"{phase}, {moment.delay:.1f} s after “{moment.text[:50]}”")
    return "; ".join(told)


def _kill_in(stage: Stage, home: Home, phase: str, *, only_parent: bool) -> Moment:
    """Kill a run in a phase; one that ended before the drawn moment is followed by another."""
    for _ in range(DRAWS):
        moment = draw_moment(stage.prepared.lines[stage.start], phase, stage.random)
        if kill_at(home, moment, only_parent=only_parent):
            return moment
        if phase == "loading":  # all is loaded now, and such a moment does not come again
            break
    raise MissedError(f"the run ended before it could be killed {moment.delay:.1f} s after {moment.text!r}")


# --- the disk is full


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own for a home; `resize` changes its size."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "chaos", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise SkippedError(f"mount is not permitted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True, capture_output=True)


def disk_small(stage: Stage, home: Home, share: float) -> str:
    """Leaves free, from the start, only a share of what the run will need."""
    needed = _used(stage.prepared.undisturbed[stage.start].folder) - _used(home.folder)
    free = max(int(needed * share), MIB)
    resize(home.folder, _used(home.folder) + free)
    run = home.run_in_vain("disk|no space left on device")
    resize(home.folder, ROOMY)
    return f"{free / MIB:.0f} MiB free, met by {run.last_step}"


def disk_full(stage: Stage, home: Home, phase: str) -> str:
    """Somebody else fills the disk while a phase of the run goes on."""
    for _ in range(DRAWS):
        moment = draw_moment(stage.prepared.lines[stage.start], phase, stage.random)
        process = home.start()
        if process.wait_for(moment.text, moment.occurrence):
            time.sleep(moment.delay)
            _fill(home.folder)
        run = process.finish()
        resize(home.folder, ROOMY)
        if run.status:
            home.must_have_failed(run, "disk|no space left on device")
            return f"full {moment.delay:.1f} s after “{moment.text[:50]}”, met by {run.last_step}"
    raise MissedError(f"the run ended before it met the full disk {moment.delay:.1f} s after {moment.text!r}")


def _fill(folder: Path) -> None:
    for _ in range(100):
        found = os.statvfs(folder)
        try:
            return resize(folder, (found.f_blocks - found.f_bfree) * found.f_frsize)
        except subprocess.CalledProcessError:  # more was written meanwhile
            continue
    raise ChaosError(f"{folder} could not be filled")


def _used(folder: Path) -> int:
    return sum(path.stat(follow_symlinks=False).st_blocks * 512 for path in folder.rglob("*"))


# --- landing files


def corrupt(stage: Stage, home: Home, how: str) -> str:
    """The newest delivery comes damaged, is refused, and comes again sound."""
    names = [name for name in stage.prepared.newest if name.endswith(".parquet" if how == "flipped" else ".csv")]
    name = stage.random.choice(names or stage.prepared.newest)
    path = home.landing / name
    sound = path.read_bytes()
    if how == "cut off":
        damaged = sound[: len(sound) * 2 // 3].rstrip(b"\n")[:-3]
    elif how == "flipped":
        damaged = bytearray(sound)
        for place in range(0, len(sound), 97):  # a single byte of a column without checksums could be a value as good
            damaged[place] ^= 0xFF
    else:
        damaged = stage.random.randbytes(len(sound))
    path.write_bytes(damaged)
    home.run_in_vain("Not published|cannot be loaded", Path(name).name)
    path.write_bytes(sound)
    return f"{name} {how}"


def late_twice_and_out_of_order(stage: Stage, home: Home) -> str:
    """The newest days come last day first, some twice, one of them changed and put right again."""
    newest = sorted(stage.prepared.newest, reverse=True)
    kept = {name: (home.landing / name).read_bytes() for name in newest}
    for name in newest:
        (home.landing / name).unlink()
    parts = [newest[0::3], newest[1::3], newest[2::3]]
    for number, part in enumerate(parts[:2]):
        for name in part:
            (home.landing / name).write_bytes(kept[name])
        home.run_cleanly()
        if number == 0:  # a second delivery of the same, under the same names
            for name in part:
                (home.landing / name).unlink()
                (home.landing / name).write_bytes(kept[name])
    for name in parts[2]:
        (home.landing / name).write_bytes(kept[name])
    # An item bank is frozen with the questions that had come by its day, and scales published since then rest on it: it
    # is part of what there was before, as last year's models are. Who has the same banks has to end the same way.
    stage.expected = copy_home(stage.prepared.earlier, stage.folder / "expected", home.landing)
    banks = [x.folder / "artifacts" / "skills" for x in (home, stage.expected)]
    shutil.rmtree(banks[1])
    shutil.copytree(*banks)
    stage.expected.run_cleanly()
    return f"{len(newest)} files in 3 deliveries"


# --- others at the same time


def lock_held(stage: Stage, home: Home) -> str:
    """Another process writes for longer than the run waits."""
    script = (
        "import sys, time; from pathlib import Path; from dagster_project.settings import Settings;"
        "from dagster_project.base.locks import WriteLock;"
        "WriteLock(Settings(home=Path(sys.argv[1])), run_id='chaos', what='somebody else').acquire();"
        "print('held', flush=True); time.sleep(3600)"
    )
    with _other_process(home, script):
        home.run_in_vain("somebody else", LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS="2")
    return "write lock held for the whole run"


def database_open(stage: Stage, home: Home) -> str:
    """Somebody opened the build database and forgot it."""
    script = (
        "import sys, time, duckdb; connection = duckdb.connect(sys.argv[1] + '/build.duckdb', read_only=True);"
        "print('held', flush=True); time.sleep(3600)"
    )
    with _other_process(home, script):
        home.run_in_vain("build.duckdb", LEARNING_WAREHOUSE_LOCK_TIMEOUT_SECONDS="2")
    return "build.duckdb open elsewhere for the whole run"


@contextmanager
def _other_process(home: Home, script: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(home.folder)],
        cwd=REPOSITORY,
        env=home.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout.readline().strip() != "held":
            raise ChaosError("the other process could not take what it should hold")
        yield
    finally:
        process.kill()
        process.wait()


def two_at_once(stage: Stage, home: Home) -> str:
    """Two runs start together: one waits for the other, and both publish."""
    first, second = home.start(), home.start()
    runs = [first.finish(), second.finish()]
    for run in runs:
        if run.status:
            raise ChaosError(f"one of two runs at once ended with status {run.status}:\n{run.output[-6000:]}")
    if not any("Waiting for" in run.output for run in runs):
        raise ChaosError("none of two runs at once waited for the other")
    return f"{runs[0].seconds:.0f} and {runs[1].seconds:.0f} s"


# --- permissions and the clock


def no_permission(stage: Stage, home: Home, where: str) -> str:
    """The run may not write (or, of a landing file, not read) a path; root's right to override is taken from it."""
    path = home.landing / stage.prepared.newest[0] if where == "landing" else home.folder / where
    mode = path.stat().st_mode
    path.chmod(0o000 if where == "landing" else 0o555)
    try:
        home.run_in_vain("ledger.sqlite" if where == "raw" else "Permission denied", as_plain_user=True)
    finally:
        path.chmod(mode)
    return f"{where} closed"


def clock_moved(stage: Stage, home: Home, days: int) -> str:
    """A run under a clock that is off."""
    path = str(Path(__file__).with_name("clock"))
    run = home.run(PYTHONPATH=path, CHAOS_CLOCK_DAYS=str(days))
    if run.status:
        raise ChaosError(f"with the clock {days:+} days off a run ended with {run.status}:\n{run.output[-6000:]}")
    time.sleep(0.01)
    return f"{days:+} days"
