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


def take_signals() -> None:
    """From now on signals end the process by way of this module; what it starts does not see them at all."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_wait, daemon=True).start()


def leave_signals() -> None:
    """Give signals back to whatever takes the place of this process."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def last_words(words: LastWords) -> Generator[None]:
    """What to record and to say when the command is stopped meanwhile."""
    _last_words.append(words)
    try:
        yield
    finally:
        _last_words.remove(words)


def _wait() -> None:
    number = signal.Signals(signal.sigwait(SIGNALS))  # a second one finds nobody who waits for it
    print(f"\n{SIGNALS[number]}: stopping …", file=sys.stderr, flush=True)
    told: list[str] = []

    def speak() -> None:
        with suppress(Exception):  # whatever it is, the process ends
            told.append(_last_words[-1]())

    words = threading.Thread(target=speak, daemon=True)
    words.start()
    words.join(SECONDS_FOR_LAST_WORDS)
    import psutil

    # dbt and what else was started: it does not see the signal, and would write on.
    children = psutil.Process().children(recursive=True)
    lines = told or ["What was loaded and published before stays so, and the same command goes on from there."]
    print(f"Stopped by {SIGNALS[number]}. {lines[0]}", file=sys.stderr, flush=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(128 + number)
