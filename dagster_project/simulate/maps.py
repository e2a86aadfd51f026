"""Value maps: from a latent index to the value of a driver. Fitted once on a large population, then fixed.

A map is monotone and piecewise linear through the quantiles of the index. It is never refitted under an intervention,
so that a changed parent moves the value as it would in the world itself.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

LEVELS = (0.005, 0.25, 0.5, 0.75, 0.995)


@dataclass(frozen=True)
class ValueMap:
    """Values `values` at the index points `points`; constant beyond them."""

    points: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Values at these index points, same shape, straight between the points of the map."""
        return np.interp(index, self.points, self.values)


def shaped(normal: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """Standard normals given the shape of a distribution with quantiles `values` at `LEVELS`: mean 0, deviation 1."""
    points = ndtri(LEVELS)
    grid = np.interp(ndtri((np.arange(10_000) + 0.5) / 10_000), points, values)
    return (np.interp(normal, points, values) - grid.mean()) / grid.std()


def fit(
    index: np.ndarray, q25: float, q75: float, *, floor: float, ceiling: float, median: float | None = None
) -> ValueMap:
    """The map that gives the index's quartiles the values q25 and q75.

    Tails end at 1.25 interquartile ranges beyond the quartiles, and at the natural limits `floor` and `ceiling`.
    """
    reach = 1.25 * (q75 - q25)
    middle = (q25 + q75) / 2 if median is None else median
    values = (max(q25 - reach, floor), q25, middle, q75, min(q75 + reach, ceiling))
    return ValueMap(tuple(np.quantile(index, LEVELS).tolist()), values)
