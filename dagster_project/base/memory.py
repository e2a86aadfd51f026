"""Memory of this process and its children over time."""

import threading
import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process

INTERVAL_SECONDS = 0.25
LOOKS_PER_FAMILY = 8  # which processes are children is asked so seldom: that looks at every process of the machine


class MemoryWatch:
    """Resident memory of this process and its children together, sampled four times a second."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = [_look(_family())]
        threading.Thread(target=self._watch, daemon=True).start()

    def peak(self, start: float = 0.0, end: float = float("inf")) -> int:
        """Largest sample, in bytes, between two times (seconds since the epoch), that before them included; 0: none."""
        samples = [(at, size) for at, size in list(self._samples) if at <= end + INTERVAL_SECONDS]
        before = [size for at, size in samples if at < start]
        return max([size for at, size in samples if at >= start] + before[-1:], default=0)

    def _watch(self) -> None:
        while True:
            family = _family()
            for _ in range(LOOKS_PER_FAMILY):
                time.sleep(INTERVAL_SECONDS)
                self._samples.append(_look(family))


def _family() -> list["Process"]:
    import psutil

    process = psutil.Process()
    return [process, *process.children(recursive=True)]


def _look(family: list["Process"]) -> tuple[float, int]:
    import psutil

    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return time.time(), total


@cache
def memory_watch() -> MemoryWatch:
    """The watch of this process; it begins with the first call."""
    return MemoryWatch()
