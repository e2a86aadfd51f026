"""Memory of this process and its children over time."""

import threading
import time
from functools import cache

INTERVAL_SECONDS = 0.25  # a look at the process tree costs some milliseconds of CPU


class MemoryWatch:
    """Resident memory of this process and its children together, sampled four times a second."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def peak(self, start: float = 0.0, end: float = float("inf")) -> int:
        """Largest sample, in bytes, between two times (seconds since the epoch); 0 where there is none."""
        return max((size for at, size in list(self._samples) if start <= at <= end + INTERVAL_SECONDS), default=0)

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            total = process.memory_info().rss
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self._samples.append((time.time(), total))
            time.sleep(INTERVAL_SECONDS)


@cache
def memory_watch() -> MemoryWatch:
    """The watch of this process; it begins with the first call."""
    return MemoryWatch()
