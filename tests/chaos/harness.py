"""Warehouses that are run, killed, run again and compared, row by row, with one that nobody disturbed."""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import duckdb

from dagster_project.settings import REPOSITORY, Settings
from dagster_project.store.compare import compare_databases
from dagster_project.store.publish import COMPARED_SCHEMAS, WALL_CLOCK_COLUMNS, compare_snapshots

SOURCE = "campus"
PHASES = ("loading", "dbt", "analytics", "publishing")
FOLLOWING = "following"
"""Phase of what a command does after it has published: what that made due."""
PUBLISHED = "✓ published__learning_warehouse"
RUN_SECONDS = 900
# A university of this size has skills and cohorts only under limits of its own.
ENVIRONMENT = {
    "LEARNING_WAREHOUSE_PSEUDONYM_KEY": "the same in every warehouse that is compared",
    "LEARNING_WAREHOUSE_MINIMUM_LINKING_LEARNERS": "10",
    "LEARNING_WAREHOUSE_MAXIMUM_REFUSED_SHARE": "0.2",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
}
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
_TIMED = re.compile(r"\s*(\d+\.\d) s  (.*)")


class ChaosError(Exception):
    """Something is not as it was promised: what was expected, what was found, and where to look."""


class Line(NamedTuple):
    """A line of progress: seconds since the start, and the text with its figures taken out."""

    seconds: float
    text: str
    phase: str | None


@dataclass
class Run:
    """A finished run."""

    status: int
    output: str
    lines: list[Line]
    seconds: float

    @property
    def last_step(self) -> str:
        """The step that began last."""
        return next((line.text[2:] for line in reversed(self.lines) if line.text.startswith("▸ ")), "the start")


class Process:
    """A run as a process group of its own, whose progress is watched."""

    def __init__(self, home: "Home", environment: dict[str, str], *, as_plain_user: bool = False) -> None:
        command = [sys.executable, "-m", "dagster_project", "run", "--source", SOURCE, "--landing", str(home.landing)]
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=home.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_drop_override if as_plain_user else None,
        )
        self.output: list[str] = []
        self.lines: list[Line] = []
        self._phase: str | None = None
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for printed in self._process.stdout:
            match = _TIMED.match(printed)
            text = re.sub(r"\d+", "#", match.group(2).strip()) if match else ""
            if text.startswith(PUBLISHED):
                self._phase = FOLLOWING
            elif text.startswith("▸ ") and self._phase != FOLLOWING:
                self._phase = phase_of(text[2:])
            with self._news:
                self.output.append(printed)
                if match:
                    self.lines.append(Line(time.monotonic() - self._started, text, self._phase))
                self._news.notify_all()
        with self._news:
            self._phase = "over"
            self._news.notify_all()

    def wait_for(self, text: str, occurrence: int) -> bool:
        """Whether the text was printed so often before the run ended."""
        with self._news:
            while True:
                if sum(line.text == text for line in self.lines) >= occurrence:
                    return True
                if self._phase == "over":
                    return False
                self._news.wait(1)

    def kill(self, *, only_parent: bool = False) -> bool:
        """kill -9 of the whole group, or of the parent alone; False when the run had ended already."""
        if self._process.poll() is not None:
            return False
        if only_parent:
            self._process.send_signal(signal.SIGKILL)
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return self._process.returncode == -signal.SIGKILL

    def finish(self) -> Run:
        """Wait for the end.

        Raises:
            ChaosError: the run hangs.
        """
        try:
            status = self._process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ChaosError(f"a run did not end in {RUN_SECONDS} s:\n{''.join(self.output[-20:])}") from None
        self._reading.join(10)
        return Run(status, "".join(self.output), self.lines, time.monotonic() - self._started)


def phase_of(step: str) -> str:
    """Phase of a step of the run, by its name."""
    if step.startswith("raw_"):
        return "loading"
    if step in ("models", "reporting"):
        return "dbt"
    return "publishing" if step.startswith("published") else "analytics"


def _drop_override() -> None:
    # What root's child executes next then has to keep to the permissions of files, as everybody does.
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@dataclass
class Home:
    """A warehouse folder and the landing place of its one source."""

    folder: Path
    landing: Path
    landing_is_shared: bool = True

    @property
    def settings(self) -> Settings:
        return Settings(home=self.folder)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEARNING_WAREHOUSE_")}
        return inherited | ENVIRONMENT | {"LEARNING_WAREHOUSE_HOME": str(self.folder)}

    @property
    def snapshot(self) -> Path | None:
        current = self.folder / "published" / "current"
        return current.resolve() if current.is_symlink() else None

    def start(self, *, as_plain_user: bool = False, **environment: str) -> Process:
        return Process(self, environment, as_plain_user=as_plain_user)

    def run(self, **environment: str) -> Run:
        return self.start(**environment).finish()

    def run_cleanly(self) -> Run:
        """A run that must publish.

        Raises:
            ChaosError: it did not.
        """
        run = self.run()
        if run.status != 0:
            raise ChaosError(f"the clean run ended with status {run.status}:\n{run.output[-6000:]}")
        return run

    def run_in_vain(self, *words: str, as_plain_user: bool = False, **environment: str) -> Run:
        """A run that must fail: with these words, without a stack trace, and with the old snapshot in its place.

        Raises:
            ChaosError: it did not.
        """
        before = self.snapshot
        run = self.start(as_plain_user=as_plain_user, **environment).finish()
        self.must_have_failed(run, *words)
        if self.snapshot != before:
            raise ChaosError(f"a run that failed replaced snapshot {before} by {self.snapshot}:\n{run.output[-6000:]}")
        return run

    @staticmethod
    def must_have_failed(run: Run, *words: str) -> None:
        """Hold a run against what a failure has to say.

        Raises:
            ChaosError: it succeeded, has nothing that fits one of the words (patterns), or its last screen shows a
                stack trace. What dbt writes before it is dbt's own log.
        """
        wrong = [f"its output lacks {word!r}" for word in words if not re.search(word, run.output, re.IGNORECASE)]
        if run.status == 0:
            wrong.append("it succeeded")
        if "Traceback (most recent call last)" in run.output[max(run.output.rfind("Not published"), 0) :]:
            wrong.append("it shows a stack trace")
        if wrong:
            raise ChaosError(f"the disturbed run should have failed; {'; '.join(wrong)}:\n{run.output[-6000:]}")


@dataclass(frozen=True)
class Moment:
    """A moment of a run: some seconds after the n-th line of progress of that text."""

    phase: str
    text: str
    occurrence: int
    delay: float


def draw_moment(lines: Sequence[Line], phase: str, random_numbers: random.Random) -> Moment:
    """A moment of a phase, every second of it as likely as any other."""
    spans = [
        (index, lines[index + 1].seconds - line.seconds) for index, line in enumerate(lines[:-1]) if line.phase == phase
    ]
    ((index, length),) = random_numbers.choices(spans, [max(length, 0.001) for _, length in spans])
    occurrence = sum(line.text == lines[index].text for line in lines[: index + 1])
    return Moment(phase, lines[index].text, occurrence, random_numbers.uniform(0, length))


def kill_at(home: Home, moment: Moment, *, only_parent: bool) -> bool:
    """Start a run and kill it at a moment of it; False when it had ended before."""
    process = home.start()
    if process.wait_for(moment.text, moment.occurrence):
        time.sleep(moment.delay)
        if process.kill(only_parent=only_parent):
            return True
    process.finish()
    return False


# --- equal, row by row


def differences(expected: Home, found: Home) -> list[str]:
    """What two warehouses differ in, as sentences; none when the same is published, built, loaded and kept."""
    settings = found.settings
    told = [f"published: {text}" for text in compare_snapshots(settings, expected.snapshot.resolve(), found.snapshot)]
    told += [
        f"built: {text}"
        for text in compare_databases(
            settings,
            expected.settings.build_database,
            settings.build_database,
            ("staging", "intermediate", *COMPARED_SCHEMAS),
            WALL_CLOCK_COLUMNS,
        )
    ]
    told += [f"loaded: {text}" for text in _loaded_differences(expected, found)]
    return told + [f"left behind: {path}" for path in leftovers(found)]


def _loaded_differences(expected: Home, found: Home) -> Iterator[str]:
    for root in ("raw", "quarantine", "identity"):
        files = [
            {str(path.relative_to(home.folder)) for path in (home.folder / root).rglob("*") if path.is_file()}
            for home in (expected, found)
        ]
        for name in sorted(files[0] ^ files[1]):
            yield f"{name}: only in the {'undisturbed' if name in files[0] else 'disturbed'} warehouse"
        with duckdb.connect() as connection:
            for name in sorted(files[0] & files[1]):
                paths = [home.folder / name for home in (expected, found)]
                if name.endswith(".parquet"):
                    yield from _parquet_differences(connection, name, paths)
                elif name == "raw/looks.json":  # where and when files were looked at is each warehouse's own
                    hashes = [sorted(found for *_, found in json.loads(path.read_text()).values()) for path in paths]
                    if hashes[0] != hashes[1]:
                        yield f"{name}: other files"
                elif "sqlite" not in name and paths[0].read_bytes() != paths[1].read_bytes():
                    yield f"{name}: other bytes"
    ledgers = [_ledger(home) for home in (expected, found)]
    for table in ledgers[0]:
        if ledgers[0][table] != ledgers[1][table]:
            lacking, surplus = ledgers[0][table] - ledgers[1][table], ledgers[1][table] - ledgers[0][table]
            yield f"ledger, {table}: {list(lacking)[:2]} missing, {list(surplus)[:2]} too many"


def _parquet_differences(connection: duckdb.DuckDBPyConnection, name: str, paths: list[Path]) -> Iterator[str]:
    if paths[0].read_bytes() == paths[1].read_bytes():
        return
    relations = [f"from read_parquet('{path}', hive_partitioning = false)" for path in paths]
    for first, second in (relations, relations[::-1]):
        if rows := connection.execute(f"select count(*) from ({first} except all {second})").fetchall()[0][0]:
            yield f"{name}: {rows} rows differ"


def _ledger(home: Home) -> dict[str, Counter]:
    connection = sqlite3.connect(home.folder / "raw" / "ledger.sqlite")
    try:
        return {
            "files": Counter(connection.execute("select * from files")),
            "changed dates": Counter(connection.execute("select contract, source, event_date from changed_dates")),
            "operations": Counter(connection.execute("select operation from operations")),
        }
    finally:
        connection.close()


def leftovers(home: Home) -> list[Path]:
    """Half-made and temporary files in a warehouse in which nothing runs."""
    found = [path for path in (home.folder / "tmp").rglob("*") if path.is_file()]
    for folder in ("raw", "identity", "quarantine", "artifacts", "published"):
        for path in (home.folder / folder).rglob("*"):
            if path.name.startswith((".", "_incoming")) or path.suffix in (".incoming", ".new"):
                found.append(path)
    return [path for path in found if path.is_file() or any(path.iterdir())]


# --- readers


@dataclass
class Seen:
    """What the readers saw, over all episodes."""

    polls: int = 0
    snapshots: int = 0
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)


@contextmanager
def reader(home: Home, seen: Seen, guard: threading.Lock, *, clock_moved: bool = False) -> Iterator[None]:
    """Polls the published snapshot from a process of its own as long as the block lasts."""
    command = [sys.executable, str(Path(__file__).with_name("reader.py")), str(home.folder / "published")]
    process = subprocess.Popen(
        [*command, *(["--clock-moved"] if clock_moved else [])], stdout=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        told = json.loads(output) if output.strip() else {"polls": 0, "errors": ["a reader died"], "mixed": []}
        with guard:
            seen.polls += told["polls"]
            seen.snapshots += len(told.get("snapshots", []))
            seen.errors += told["errors"]
            seen.mixed += told["mixed"]


def copy_home(source: Home, folder: Path, landing: Path) -> Home:
    """A warehouse as it stands, elsewhere."""
    shutil.copytree(source.folder, folder, symlinks=True, dirs_exist_ok=True)
    return Home(folder, landing)
