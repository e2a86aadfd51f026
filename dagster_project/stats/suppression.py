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
    """Means of samples that overlap, so that no two of them tell the mean of the few persons who are in one alone.

    A sample that has nearly as many persons as an earlier one has that one's mean: of two means only those are told
    apart whose samples differ by ``minimum`` persons at least. Ask for the largest samples first.
    """

    def __init__(self, minimum: int = MINIMUM) -> None:
        self._minimum = minimum
        self._told: list[tuple[int, float]] = []

    def of(self, size: int, mean: float) -> float:
        """The mean to publish of a sample of `size` persons; missing stays missing."""
        if mean is None or not np.isfinite(mean):
            return mean
        for told_size, told in self._told:
            if abs(told_size - size) < self._minimum:
                return told
        self._told.append((size, mean))
        return mean


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
