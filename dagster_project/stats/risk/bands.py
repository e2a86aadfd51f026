"""Whom a team calls: as many of each cohort as it can, those at the highest risk first.

Fixed cut-offs would call nobody in one cohort and half of another: probabilities of cohorts differ by their base rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

HIGHER_ODDS = 2.0  # than the cohort's: below, calling says nothing about the learner


def call_places(scored: pd.DataFrame, cohort: Sequence[str]) -> pd.DataFrame:
    """Each row's place in its cohort, 1 for the highest risk, and how many rows the cohort has: place, size.

    Of equal probabilities the higher log-odds come first, then the order of `tie`.

    Args:
        scored: probability, log_odds, tie and the cohort's columns.
        cohort: columns that name among whom is chosen.
    """
    import pandas as pd

    ordered = scored.sort_values(["probability", "log_odds", "tie"], ascending=[False, False, True], kind="stable")
    groups = ordered.groupby(list(cohort), sort=False, dropna=False)
    return pd.DataFrame(
        {"place": groups.cumcount() + 1, "size": groups["probability"].transform("size")}, index=ordered.index
    ).reindex(scored.index)


def places_of(share, size) -> np.ndarray:
    """How many of a cohort a share is: rounded up, but for what is no whole number by rounding only."""
    return np.ceil(np.round(np.asarray(share) * np.asarray(size), 9))


def call_bands(scored: pd.DataFrame, cohort: Sequence[str], shares: np.ndarray) -> np.ndarray:
    """The band of each row, "high", "medium" or "low", shape (rows,).

    Args:
        scored, cohort: as of `call_places`.
        shares: how much of a cohort a team can call at once, and can call next; shape (2,), or (rows, 2).
    """
    places = call_places(scored, cohort)
    probability = scored["probability"].to_numpy(float)
    mean = scored.groupby(list(cohort), sort=False, dropna=False)["probability"].transform("mean").to_numpy(float)
    is_higher = _odds(probability) >= HIGHER_ODDS * _odds(mean)
    place, size = places["place"].to_numpy(), places["size"].to_numpy()
    at_once, then = np.moveaxis(np.asarray(shares, float), -1, 0)
    is_high, is_listed = place <= places_of(at_once, size), place <= places_of(at_once + then, size)
    return np.select([is_higher & is_high, is_higher & is_listed], ["high", "medium"], "low")


def _odds(probability: np.ndarray) -> np.ndarray:
    return probability / (1 - probability)
