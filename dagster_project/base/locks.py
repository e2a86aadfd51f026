"""One writing run at a time, over all processes of this machine: a lock file, and in it who holds it."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dagster_project.base import clock
from dagster_project.base.errors import LockTimeoutError
from dagster_project.settings import PREFIX, Settings

POLL_SECONDS = 0.1
PROGRESS_SECONDS = 15.0


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: written into the lock file, read by those who wait."""

    what: str
    run_id: str
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"{self.what} (run {self.run_id}, process {self.pid} on {self.host}, since {self.since})"


@dataclass
class _Held:
    descriptor: int
    depth: int


# Locks of this process. A run takes its lock in several steps (and threads), so they are counted per run.
_held: dict[tuple[Path, str], _Held] = {}
_guard = threading.Lock()


class WriteLock:
    """The right to write, from a run's first write to its publication.

    The same run may take it again in the same process: it is free when it was released as often as it was acquired,
    or by `release_run`. The kernel frees it when the process dies, by `kill -9` too.

    Args:
        settings: gives the lock file and how long to wait.
        run_id: the run that wants to write.
        what: words for the people who wait, such as "make run SOURCE=oulad".
        on_wait: called with a sentence when the wait begins and every 15 seconds of it.
    """

    def __init__(
        self, settings: Settings, *, run_id: str, what: str, on_wait: Callable[[str], None] = lambda message: None
    ) -> None:
        self._path = settings.lock_file.resolve()
        self._timeout = settings.lock_timeout_seconds
        self._run_id = run_id
        self._what = what
        self._on_wait = on_wait

    def acquire(self) -> None:
        """Take the lock, waiting for at most `settings.lock_timeout_seconds`.

        Raises:
            LockTimeoutError: another run still holds it; says which.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            kept = self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if not kept:
            os.close(descriptor)

    def release(self) -> None:
        """Give back one `acquire`."""
        with _guard:
            held = _held.get((self._path, self._run_id))
            if held is None:
                raise RuntimeError(f"Run {self._run_id} does not hold {self._path}")
            held.depth -= 1
            if held.depth == 0:
                _free(self._path, self._run_id)

    def __enter__(self) -> "WriteLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _wait(self, descriptor: int) -> bool:
        """Wait for the lock; true when it now belongs to `descriptor`, false when the run held it already."""
        started = time.monotonic()
        next_message = 0.0
        while not (taken := self._try(descriptor))[0]:
            waited = time.monotonic() - started
            holder = _read_holder(self._path)
            if waited >= self._timeout:
                raise LockTimeoutError(
                    f"{self._what} could not start to write: {holder or 'another process'} holds {self._path}, and "
                    f"{waited:.0f} s of waiting were not enough. Wait until it has finished, or stop it "
                    f"({f'kill {holder.pid}' if holder else 'see `fuser` on that file'}): the lock goes with its "
                    f"process, so never delete the file. {PREFIX}LOCK_TIMEOUT_SECONDS sets how long to wait."
                )
            if waited >= next_message:
                self._on_wait(
                    f"Waiting for {holder or 'another process'}, which writes this warehouse: "
                    f"{waited:.0f} s of at most {self._timeout:.0f} s"
                )
                next_message += PROGRESS_SECONDS
            time.sleep(min(POLL_SECONDS, self._timeout - waited))
        return taken[1]

    def _try(self, descriptor: int) -> tuple[bool, bool]:
        """(acquired, whether `descriptor` is what holds it)."""
        with _guard:
            # Looked up at every attempt: another thread of this run may have got the lock meanwhile.
            if held := _held.get((self._path, self._run_id)):
                held.depth += 1
                return True, False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False, False
            _held[self._path, self._run_id] = _Held(descriptor, depth=1)
        holder = Holder(
            what=self._what,
            run_id=self._run_id,
            pid=os.getpid(),
            host=socket.gethostname(),
            since=clock.now().strftime("%Y-%m-%d %H:%M:%S UTC"),
        )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        return True, True


def release_run(settings: Settings, run_id: str) -> None:
    """Free the lock of a run that ended, however often it was acquired. Does nothing when the run does not hold it."""
    with _guard:
        _free(settings.lock_file.resolve(), run_id)


def _free(path: Path, run_id: str) -> None:
    # Only closed, not unlocked: a forked child of the run that still writes keeps the lock until it ends too.
    if held := _held.pop((path, run_id), None):
        os.close(held.descriptor)


def _read_holder(path: Path) -> Holder | None:
    # Empty or half-written for the moment between another process's taking the lock and its saying so.
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
