"""Whom a team calls: as many of each cohort as it can, those at the highest risk first.

Fixed cut-offs would call nobody in one cohort and half of another: probabilities of cohorts differ by their base rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

HIGH_SHARE, MEDIUM_SHARE = 0.10, 0.15
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


def call_bands(
    scored: pd.DataFrame, cohort: Sequence[str], high_share=HIGH_SHARE, medium_share=MEDIUM_SHARE
) -> np.ndarray:
    """The band of each row, "high", "medium" or "low", shape (rows,).

    Args:
        scored, cohort: as of `call_places`.
        high_share, medium_share: how much of a cohort a team can call at once, and can call next; numbers, or arrays of
            shape (rows,).
    """
    places = call_places(scored, cohort)
    probability = scored["probability"].to_numpy(float)
    mean = scored.groupby(list(cohort), sort=False, dropna=False)["probability"].transform("mean").to_numpy(float)
    is_higher = _odds(probability) >= HIGHER_ODDS * _odds(mean)
    place, size = places["place"].to_numpy(), places["size"].to_numpy()
    # Rounded up, but for what is no whole number by rounding only.
    most_high = np.ceil(np.round(np.asarray(high_share) * size, 9))
    most = np.ceil(np.round((np.asarray(high_share) + np.asarray(medium_share)) * size, 9))
    return np.select([is_higher & (place <= most_high), is_higher & (place <= most)], ["high", "medium"], "low")


def _odds(probability: np.ndarray) -> np.ndarray:
    return probability / (1 - probability)
