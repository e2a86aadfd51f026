"""Inductive Venn–Abers intervals: probabilities with their own uncertainty, from scores and outcomes held back.

A new learner's outcome is unknown: it is taken for 0, then for 1, and each time an isotonic regression of all outcomes
on all scores is fitted. The two fitted values at the learner's score bracket the probability; one of the two is
perfectly calibrated whatever the scores are.

References:
    [1] Vovk, Petej and Fedorova (2015), Large-scale probabilistic predictors with and without guarantees of validity,
        Advances in Neural Information Processing Systems 28, 892-900: algorithms 1 to 3.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class VennAbers:
    """Two step functions of the score, shape (different scores in the calibration rows,) each.

    Attributes:
        score: different scores, ascending
        low: fitted value at a score of at least this and below the next, the new outcome being 0; 0 below all
        high: fitted value at a score of at most this and above the one before, the new outcome being 1; 1 above all
    """

    score: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def interval(self, score) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper probability of scores of shape (n,)."""
        score = np.asarray(score, float)
        low = np.concatenate([[0.0], self.low])[np.searchsorted(self.score, score, side="right")]
        high = np.concatenate([self.high, [1.0]])[np.searchsorted(self.score, score, side="left")]
        return low, high

    def to_dict(self) -> dict[str, list[float]]:
        """As JSON has it; scores between which nothing changes are left out."""
        keep_low = np.r_[True, np.diff(self.low) != 0]
        keep_high = np.r_[np.diff(self.high) != 0, True]
        return {
            "low_from": self.score[keep_low].tolist(),
            "low": self.low[keep_low].tolist(),
            "high_to": self.score[keep_high].tolist(),
            "high": self.high[keep_high].tolist(),
        }

    @classmethod
    def from_dict(cls, steps: dict[str, list[float]]) -> "VennAbers":
        """The same intervals again, of what :meth:`to_dict` gave."""
        low_from, high_to = np.array(steps["low_from"]), np.array(steps["high_to"])
        score = np.union1d(low_from, high_to)
        low = np.concatenate([[0.0], steps["low"]])[np.searchsorted(low_from, score, side="right")]
        high = np.concatenate([steps["high"], [1.0]])[np.searchsorted(high_to, score, side="left")]
        return cls(score, low, high)


def fit_venn_abers(score, outcome) -> VennAbers:
    """Intervals from calibration rows that the scoring model has not seen, O(n log n).

    Args:
        score (array of shape (n,)): any increasing function of the risk; higher means more likely.
        outcome (array of shape (n,)): 0 or 1.

    Raises:
        ValueError: no rows, other outcomes, or scores that are not finite.
    """
    score, outcome = np.asarray(score, float), np.asarray(outcome, float)
    if len(score) == 0 or score.shape != outcome.shape or not np.isfinite(score).all():
        raise ValueError(f"Venn–Abers needs as many finite scores as outcomes: found {score.shape}, {outcome.shape}")
    if not np.isin(outcome, (0, 1)).all():
        raise ValueError("Venn–Abers needs outcomes 0 and 1")
    different, group, count = np.unique(score, return_inverse=True, return_counts=True)
    positive = np.bincount(group, weights=outcome)
    high = _with_outcome_one(count, positive)
    # Turned around and with the outcomes swapped, a 0 is a 1.
    low = 1.0 - _with_outcome_one(count[::-1], (count - positive)[::-1])[::-1]
    return VennAbers(different, low, high)


def _with_outcome_one(count: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Isotonic fit at each group of equal scores when one row with outcome 1 joins it, shape (groups,).

    An isotonic fit is the slope of the greatest convex minorant of the cumulative sums. A row that joins group i moves
    the sums before it by (-1, -1); the slope of the line that then bridges both parts is the fit. From one group to
    the next the bridge's left end only moves to the right: [1], algorithm 2.
    """
    x = np.concatenate([[-1.0, 0.0], np.cumsum(count)]).tolist()
    y = np.concatenate([[-1.0, 0.0], np.cumsum(positive)]).tolist()
    corners: list[tuple[float, float]] = []  # of the minorant, leftmost last
    for point in zip(reversed(x), reversed(y), strict=True):
        _drop_hidden(corners, point)
        corners.append(point)
    fit = np.empty(len(count))
    for i in range(len(count)):
        (left_x, left_y), (right_x, right_y) = corners[-1], corners[-2]
        slope = (right_y - left_y) / (right_x - left_x)
        fit[i] = slope
        moved = (x[i + 2] - 1.0, y[i + 2] - 1.0)
        if moved[1] < left_y + slope * (moved[0] - left_x):
            corners.pop()
            _drop_hidden(corners, moved)
            corners.append(moved)
    return np.clip(fit, 0.0, 1.0)


def _drop_hidden(corners: list[tuple[float, float]], point: tuple[float, float]) -> None:
    """Take away the last corners that lie on or above the line from a point further left to the corner after them."""
    while len(corners) > 1:
        (near_x, near_y), (far_x, far_y) = corners[-1], corners[-2]
        if (near_y - point[1]) * (far_x - point[0]) < (far_y - point[1]) * (near_x - point[0]):
            return
        corners.pop()
