"""Whether rows still look like those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

WARN_ABOVE, BLOCK_ABOVE = 0.10, 0.25
BINS = 10
DRIFTED_SHARE = 0.25  # of what moves the score: features beyond the limit that together weigh more make another cohort
SCORE = "score"  # the row of a drift table that is no feature
SMALLEST_SHARE = 1e-4  # stands for an empty bin: the logarithm of nothing would be infinite


def population_stability_index(expected, actual, *, bins: int = BINS) -> float:
    """PSI: the sum over bins of (share now - share then) · log(share now / share then).

    Args:
        expected, actual (arrays of shape (n,), (m,)): the reference and what is compared with it; numbers, booleans or
            words. Missing values are a bin of their own.
        bins: bins of equal count of the reference for numbers; words have one bin each.

    Returns:
        float: below .10 alike; above .25 another population. nan: one of both is empty.
    """
    import pandas as pd

    expected, actual = pd.Series(np.asarray(expected)), pd.Series(np.asarray(actual))
    if expected.empty or actual.empty:
        return float("nan")
    shares = [_shares(column, _edges(expected, bins)) for column in (expected, actual)]
    then, now = (x.clip(lower=SMALLEST_SHARE) for x in shares[0].align(shares[1], fill_value=0.0))
    return float(((now - then) * np.log(now / then)).sum())


def drift_table(
    expected: pd.DataFrame, actual: pd.DataFrame, columns: list[str], importance: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """PSI by column, largest first: feature, psi, level ("fine", "warn", "block"), importance (nan where not given)."""
    import pandas as pd

    psi = [population_stability_index(expected[column], actual[column]) for column in columns]
    table = pd.DataFrame({"feature": columns, "psi": psi})
    table["importance"] = table["feature"].map(dict(importance or {})).astype(float)
    table["level"] = np.select([table["psi"] > BLOCK_ABOVE, table["psi"] > WARN_ABOVE], ["block", "warn"], "fine")
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


def _edges(expected: pd.Series, bins: int) -> np.ndarray | None:
    """Inner bounds of the bins; none for words."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(expected):
        return None
    known = expected.dropna().to_numpy(float)
    return np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.empty(0)


def _shares(column: pd.Series, edges: np.ndarray | None) -> pd.Series:
    """Share of each bin; -1 is the bin of missing values."""
    import pandas as pd

    if edges is None:
        return column.astype("object").where(column.notna(), "missing").astype(str).value_counts(normalize=True)
    number = column.to_numpy(float)
    bin_of = np.where(np.isnan(number), -1, np.searchsorted(edges, number, side="left"))
    return pd.Series(bin_of).value_counts(normalize=True)
