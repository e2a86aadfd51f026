"""Linear algebra on one thread: matrices are small, and a second thread only waits, at the price of a core."""

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def one_thread_for_algebra() -> Generator[None]:
    """One thread for the matrices of NumPy and SciPy meanwhile."""
    # A limit holds for the libraries that are loaded when it is set, and SciPy brings one of its own.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
