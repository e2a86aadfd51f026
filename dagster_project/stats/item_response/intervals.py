"""Confidence intervals of estimates with their standard errors."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def with_intervals(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """The frame (estimate, std_error, …) with ``low`` and ``high``, the normal interval at this level."""
    if not 0 < level < 1:
        raise ValueError(f"level {level}; expected a share between 0 and 1, for instance .95")
    half = NormalDist().inv_cdf(0.5 + level / 2) * frame["std_error"]
    return frame.assign(low=frame["estimate"] - half, high=frame["estimate"] + half)
