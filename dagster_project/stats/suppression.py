"""Which figures of small groups must not be shown, so that nobody can work them out from those that are.

Groups are cells; margins are sums of cells that a reader knows or can form (all, an industry, a country …). A cell that
is too small is hidden; if it is the only one hidden in a margin, the margin minus the others reveals it, so that others
are hidden with it (Willenborg and de Waal 2001, chapter 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MINIMUM = 10


def suppress(size, margins, *, minimum: int = MINIMUM) -> pd.Series:
    """Why each cell is hidden.

    Args:
        size (array of shape (cells,)): persons in each cell. Empty cells are not shown and reveal nobody.
        margins (frame of shape (cells, kinds)): for each kind of margin the group that the cell is summed into
            (missing: none). The sum of all cells is always taken as known.
        minimum: fewest persons of a cell that is shown, and of the hidden cells of a margin together.

    Returns:
        series of shape (cells,): "small", "complementary", or missing where the cell may be shown.

    Notes:
        What is guaranteed: in no margin do the hidden cells together have fewer than ``minimum`` persons or only one
        member, and no linear combination of margins and shown cells gives a hidden cell. The cells hidden beside the
        small ones are the smallest that do it, one at a time; a smaller set may exist.
    """
    import pandas as pd

    size = np.asarray(size)
    margins = pd.DataFrame(margins).reset_index(drop=True).assign(_all="all")
    sums = [
        np.flatnonzero(codes == value)
        for codes in (pd.factorize(margins[name])[0] for name in margins)
        for value in range(codes.max(initial=-1) + 1)
    ]
    small = (size > 0) & (size < minimum)
    hidden = small.copy()
    while True:
        change = _complement(size, sums, hidden, minimum)
        change = _determined(size, sums, hidden) if change is None else change
        if change is None:
            break
        hidden[change] = True
    reason = np.full(len(size), None, object)
    reason[hidden] = "complementary"
    reason[small] = "small"
    return pd.Series(reason, dtype=object)


class SharedMeans:
    """Means of samples that overlap, so that no two of them tell the mean of the few rows that are in one alone.

    A sample has its own mean. Only where fewer than ``minimum`` rows tell it from a larger sample that is told, those
    in one of the two alone counted, both have the mean of the larger one. Sizes say nothing: two samples of one size
    may have no row in common.
    """

    def __init__(self, samples: int, minimum: int = MINIMUM) -> None:
        self._minimum = minimum
        self._shared = np.zeros((samples, samples), dtype=np.int64)  # rows that are in both
        self._sums = np.zeros(samples)

    def add(self, member: np.ndarray, values: np.ndarray) -> None:
        """Take in rows: ``member`` (samples, rows) says who is in which sample, ``values`` (rows,) are the outcomes."""
        inside = member.astype(np.float64)
        self._shared += (inside @ inside.T).astype(np.int64)
        self._sums += inside @ values

    def told(self) -> np.ndarray:
        """(samples,) number of the sample whose mean each sample has."""
        sizes = np.diag(self._shared)
        told = np.arange(len(sizes))
        larger: list[int] = []
        for sample in np.argsort(-sizes, kind="stable"):
            apart = [(sizes[sample] + sizes[other] - 2 * self._shared[sample, other], other) for other in larger]
            nearest = min(apart, default=(self._minimum, sample))
            if nearest[0] < self._minimum:
                told[sample] = nearest[1]
            else:
                larger.append(int(sample))
        return told

    def means(self) -> np.ndarray:
        """(samples,) the mean to publish of each sample; missing where it has no rows."""
        sizes = np.diag(self._shared)
        own = np.divide(self._sums, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
        return np.where(sizes > 0, own[self.told()], np.nan)


def _complement(size, sums, hidden, minimum) -> int | None:
    """The smallest shown cell of a margin whose hidden cells stand alone or are too few persons."""
    for cells in sums:
        inside = cells[hidden[cells]]
        shown = cells[~hidden[cells] & (size[cells] > 0)]
        if len(inside) and len(shown) and (len(inside) == 1 or size[inside].sum() < minimum):
            return int(shown[np.argmin(size[shown])])
    return None


def _determined(size, sums, hidden) -> int | None:
    """The smallest shown cell beside a hidden one that the margins together determine."""
    unknown = np.flatnonzero(hidden)
    if not len(unknown):
        return None
    equations = np.array([np.isin(unknown, cells) for cells in sums], float)
    _, singular, rows = np.linalg.svd(equations)
    null = rows[int((singular > 1e-9).sum()) :]
    for cell in unknown[(np.abs(null) < 1e-9).all(axis=0)]:
        beside = np.concatenate([cells[~hidden[cells] & (size[cells] > 0)] for cells in sums if cell in cells])
        if len(beside):
            return int(beside[np.argmin(size[beside])])
    return None
