"""Whether rows still look like those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

WARN_ABOVE, BLOCK_ABOVE = 0.10, 0.25
BINS = 10
FEWEST = 500  # rows on a side, and learners: with fewer, a difference tells mostly of chance
DRIFTED_SHARE = 0.25  # of what moves the score: features beyond the limit that together weigh more make another cohort
SCORE = "score"  # the row of a drift table that is no feature
SMALLEST_SHARE = 1e-4  # stands for an empty bin: the logarithm of nothing would be infinite


def population_stability_index(expected: np.ndarray, actual: np.ndarray, *, bins: int = BINS) -> float:
    """PSI: the sum over bins of (share now - share then) · log(share now / share then).

    Args:
        expected, actual: the reference, numbers of shape (n,), and what is compared with it, (m,). Missing values are a
            bin of their own.
        bins: bins of equal count of the reference

    Returns:
        float: below .10 alike; above .25 another population. nan: one of both is empty.
    """
    edges = _edges(expected, bins)
    return _index(_counts(expected, edges), _counts(actual, edges))


@dataclass(frozen=True)
class Reference:
    """How features and score of the trained rows lie, week by week: what a model keeps of whom it was trained on.

    Attributes:
        edges: inner bounds of the bins by column, bins of equal count over all weeks
        counts: by week and column the rows of each bin, those with a missing value last
        importance: share of each feature in what moves the score
    """

    edges: Mapping[str, Sequence[float]]
    counts: Mapping[int, Mapping[str, Sequence[int]]]
    importance: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, for `from_dict`."""
        counts = {str(week): dict(columns) for week, columns in self.counts.items()}
        return {"edges": dict(self.edges), "counts": counts, "importance": dict(self.importance)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Reference:
        """The reference that `to_dict` gave."""
        counts = {int(week): columns for week, columns in saved["counts"].items()}
        return cls(saved["edges"], counts, saved["importance"])


def fit_reference(
    columns: Mapping[str, np.ndarray], week: np.ndarray, importance: Mapping[str, float], *, bins: int = BINS
) -> Reference:
    """Of trained rows; ``columns``: numbers by name, shape (rows,) each, nan where missing; ``week``: shape (rows,)."""
    edges = {name: _edges(values, bins) for name, values in columns.items()}
    counts = {
        int(value): {name: _counts(values[week == value], edges[name]).tolist() for name, values in columns.items()}
        for value in np.unique(week)
    }
    return Reference({name: inner.tolist() for name, inner in edges.items()}, counts, dict(importance))


def drift_table(
    reference: Reference, columns: Mapping[str, np.ndarray], week: np.ndarray, *, learners: int | None = None
) -> pd.DataFrame:
    """PSI of rows against as many of the reference in each of their weeks, or the calendar would be the drift.

    Args:
        columns, week: as of `fit_reference`; a week that the reference does not know is compared with its nearest.
        learners: whose rows they are; a learner's weeks are alike. As many as rows if not given.

    Returns:
        DataFrame: feature, psi, level ("fine", "warn", "block"), importance, n_expected, n_actual; largest PSI first.
    """
    import pandas as pd

    known = np.array(sorted(reference.counts))
    values, rows = np.unique(week, return_counts=True)
    nearest = [int(known[np.argmin(np.abs(known - value))]) for value in values]
    lines = []
    for name, inner in reference.edges.items():
        counts = np.array([reference.counts[value][name] for value in nearest], float)
        expected = rows @ (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
        lines.append((name, _index(expected, _counts(columns[name], np.asarray(inner)))))
    table = pd.DataFrame(lines, columns=["feature", "psi"])
    table["importance"] = table["feature"].map(dict(reference.importance)).astype(float)
    table["level"] = np.select([table["psi"] > BLOCK_ABOVE, table["psi"] > WARN_ABOVE], ["block", "warn"], "fine")
    first = next(iter(reference.edges))
    table["n_expected"] = int(sum(sum(reference.counts[value][first]) for value in set(nearest)))
    table["n_actual"] = len(week)
    few = min(int(table["n_expected"].iloc[0]), len(week), len(week) if learners is None else learners) < FEWEST
    if few:
        table["level"] = "too few rows"
    return table.sort_values("psi", ascending=False, ignore_index=True)


def why_drifted(table: pd.DataFrame) -> str | None:
    """Why a drift table is one of another cohort, in words; None: it is not.

    The score is beyond the limit, or the features beyond it weigh more than `DRIFTED_SHARE` together.
    """
    beyond = table[table["level"] == "block"]
    reasons = [f"PSI of the score {psi:.2f}" for psi in beyond.loc[beyond["feature"] == SCORE, "psi"]]
    features = beyond[beyond["feature"] != SCORE]
    weight = features["importance"].sum()
    if weight > DRIFTED_SHARE:
        reasons.append(f"features with {weight:.0%} of the weight have drifted: {', '.join(features['feature'])}")
    return "; ".join(reasons) or None


def _edges(expected: np.ndarray, bins: int) -> np.ndarray:
    """Inner bounds of the bins."""
    known = expected[~np.isnan(expected)].astype(float)
    return np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)


def _counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Rows of each bin, those of missing values last."""
    bin_of = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values.astype(float), side="left"))
    return np.bincount(bin_of, minlength=len(edges) + 2)


def _index(expected: np.ndarray, actual: np.ndarray) -> float:
    if not expected.sum() or not actual.sum():
        return float("nan")
    then, now = (np.maximum(x / x.sum(), SMALLEST_SHARE) for x in (expected, actual))
    return float(((now - then) * np.log(now / then)).sum())
