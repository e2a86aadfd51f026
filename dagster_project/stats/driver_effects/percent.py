"""From a coefficient to the percent by which retention changes, and what could be behind it.

The percent
    pct = 100 alpha (high - low) / (mean outcome + alpha (low - mean driver)), alpha the double lasso's effect, both
    means over the driver's own sample; what it divides by is the retention at the contrast's low end. Its standard
    error is the delta method's in alpha; the interval's ends are the percents of the ends of alpha's interval, so that
    it holds zero exactly when alpha's does.

References:
    [1] Cinelli and Hazlett (2020), Making sense of sensitivity, J. Royal Statistical Society B 82, 39-67.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dagster_project.stats.double_lasso import inference

SHOWN = 0.05


def percent(alpha: float, row: Mapping[str, Any]) -> float:
    """Percent for an effect ``alpha``, at the contrast and means of a row."""
    low, high = row["contrast_low"], row["contrast_high"]
    return float(100 * alpha * (high - low) / (row["outcome_mean"] + alpha * (low - row["driver_mean"])))


def metric(row: Mapping[str, Any], conf_low: float, conf_high: float) -> dict[str, float]:
    """Percent and percentage points of a row with effect, std_error, contrast and means."""
    span = row["contrast_high"] - row["contrast_low"]
    base = row["outcome_mean"] + row["effect"] * (row["contrast_low"] - row["driver_mean"])
    return {
        "percent": percent(row["effect"], row),
        "percent_std_error": 100 * row["std_error"] * span * row["outcome_mean"] / base**2,
        "percent_low": percent(conf_low, row),
        "percent_high": percent(conf_high, row),
        "points": 100 * row["effect"] * span,
        "points_std_error": 100 * row["std_error"] * span,
        "points_low": 100 * conf_low * span,
        "points_high": 100 * conf_high * span,
        "retention_at_low": base,
        "retention_at_high": base + row["effect"] * span,
    }


def finding(family_p: float, percent_low: float, percent_high: float) -> str:
    """The word for what a figure shows, which pages, colours and sentences follow.

    ``family_p`` is the Romano-Wolf p-value over all drivers that were estimated; the percents end the 95 % interval.
    """
    if family_p <= SHOWN:
        return "shown"
    return "hint" if percent_low > 0 or percent_high < 0 else "not shown"


def sensitivity(row: Mapping[str, Any], fit: Mapping[str, Any]) -> dict[str, Any]:
    """What an unseen confounder would have to be, and what one like a control that we see would do ([1])."""
    nearest = fit["conf_low"] if fit["effect"] > 0 else fit["conf_high"]
    value = fit["robustness_value"]
    found = {
        "robustness_value": value,
        "robustness_value_of_interval": inference.robustness_of_bound(value, fit["effect"], nearest),
        "benchmark_control": fit["benchmark_control"],
        "benchmark_r2_driver": fit["benchmark_r2_driver"],
        "benchmark_r2_outcome": fit["benchmark_r2_outcome"],
    }
    if nearest * fit["effect"] <= 0:
        # the interval holds zero: what it does exclude
        found["excluded_beyond_percent"] = max(abs(row["percent_low"]), abs(row["percent_high"]))
    if fit["benchmark_control"] is not None:
        found["benchmark_strength"] = inference.equal_strength(fit["benchmark_r2_driver"], fit["benchmark_r2_outcome"])
        hidden = inference.share_hidden_by_twin(value, fit["benchmark_r2_driver"], fit["benchmark_r2_outcome"])
        if np.isfinite(hidden):
            found["percent_with_benchmark_twin"] = percent(fit["effect"] * (1 - hidden), row)
    return found
