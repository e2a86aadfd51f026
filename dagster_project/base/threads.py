"""Independent pieces of work, side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_order(work: Callable[..., Result], pieces: Iterable[tuple], threads: int) -> Iterator[Result]:
    """Results of `work(*piece)`, in the order of the pieces; what is heavy in the work must let go of Python's lock.

    At most `threads` + 1 pieces are in memory together: the next one is read when a result is taken.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        try:
            for piece in pieces:
                waiting.append(pool.submit(work, *piece))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # after an error no further piece is begun
                future.cancel()
