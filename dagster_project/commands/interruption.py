"""Ctrl-C and SIGTERM end a command within seconds, the programs that it started with it, and say what stands.

What a run writes survives that it is killed at any moment. So it is not unwound, which takes as long as what it does at
that moment: the main thread never sees the signal, which a thread of its own takes. It records that the run was
canceled, says so, and ends the process.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
SECONDS_FOR_LAST_WORDS = 5.0
"""How long recording and looking up what stands may take, where the disk is slow or somebody holds a lock."""
NOTHING_BEGUN = "Nothing was changed: the same command begins anew."

LastWords = Callable[[], str]
"""Records what must be recorded; returns what stands and how to go on."""
_last_words: list[LastWords] = [lambda: NOTHING_BEGUN]
_stopping = threading.Lock()
_terminal: list[int] = []
"""The terminal itself, from when signals are taken on."""


def take_signals() -> None:
    """From now on signals end the process by way of this module.

    Ctrl-C goes to all programs of a terminal: it is blocked here, so that those that a command starts do not see it and
    end before what stands was recorded. SIGTERM is not, since programs are ended by it. What Python itself writes into
    a pipe at every signal that has a handler tells of it, and of Ctrl-C should a library unblock it.
    """
    # While a step goes on, what is written goes to the terminal by way of a file and a program that follows it.
    _terminal.append(os.dup(sys.stderr.fileno()))
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for wait in (lambda: signal.sigwait({signal.SIGINT}), lambda: _read_signal(read)):
        threading.Thread(target=lambda wait=wait: _stop(signal.Signals(wait())), daemon=True).start()


def keep_signals() -> None:
    """Start what Python starts for a shared resource and would unblock the signals for, and block Ctrl-C again."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def leave_signals() -> None:
    """Give signals back to whatever takes the place of this process."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def last_words(words: LastWords) -> Generator[None]:
    """What to record and to say when the command is stopped meanwhile."""
    _last_words.append(words)
    try:
        yield
    finally:
        _last_words.remove(words)


def _read_signal(pipe: int) -> int:
    while (number := os.read(pipe, 1)[0]) not in SIGNALS:
        pass  # of a child that ended, say
    return number


def _stop(number: signal.Signals) -> None:
    if not _stopping.acquire(blocking=False):
        return  # a second one does no harm
    _tell(f"\n{SIGNALS[number]}: stopping …")
    told: list[str] = []

    def speak() -> None:
        with suppress(Exception):  # whatever it is, the process ends
            told.append(_last_words[-1]())

    words = threading.Thread(target=speak, daemon=True)
    words.start()
    words.join(SECONDS_FOR_LAST_WORDS)
    import psutil

    # dbt and what else was started: it does not see Ctrl-C, and would write on.
    children = psutil.Process().children(recursive=True)
    lines = told or ["What was loaded and published before stays so, and the same command goes on from there."]
    _tell(f"Stopped by {SIGNALS[number]}. {lines[0]}")
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(128 + number)


def _tell(line: str) -> None:
    with suppress(OSError):  # nobody may be there any more to read it
        os.write(_terminal[-1], f"{line}\n".encode())
