"""From a model's log-odds to probabilities, and how far probabilities are from frequencies.

References:
    [1] Platt (1999), Probabilistic outputs for support vector machines, Advances in Large Margin Classifiers, 61-74.
    [2] Cox (1958), Two further applications of a model for binary regression, Biometrika 45, 562-565: the slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
STEPS = 50
CALIBRATED_FROM_WEEK = 6  # before, nothing tells a new cohort's level: it is in the interval, and lists go by rank
AIM, AIM_OF_FEW, ENOUGH_COHORTS = 0.03, 0.05, 3  # error beyond chance; the second where fewer cohorts are earlier


@dataclass(frozen=True)
class Platt:
    """Probability = expit(intercept + slope · log-odds) [1]."""

    slope: float
    intercept: float

    def log_odds(self, log_odds) -> np.ndarray:
        """Calibrated log-odds (n,) of log-odds (n,)."""
        return self.intercept + self.slope * np.asarray(log_odds, float)

    def to_dict(self) -> dict[str, float]:
        """As JSON holds it: `Platt(**saved)` reads it."""
        return {"slope": self.slope, "intercept": self.intercept}


def fit_platt(log_odds, outcome) -> Platt:
    """Platt's line by Newton's method, outcomes smoothed as in [1] so that separable rows have a finite one."""
    outcome = np.asarray(outcome, float)
    positives, negatives = outcome.sum(), (1 - outcome).sum()
    target = np.where(outcome == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    intercept, slope = _logistic_line(np.asarray(log_odds, float), target)
    return Platt(slope, intercept)


def fit_offset(log_odds, outcome) -> tuple[float, float]:
    """By how much the log-odds of all rows are too low, and its standard error."""
    from scipy.special import expit

    log_odds, outcome = np.asarray(log_odds, float), np.asarray(outcome, float)
    shift = 0.0
    for _ in range(STEPS):
        p = expit(log_odds + shift)
        step = (outcome - p).sum() / max((p * (1 - p)).sum(), 1e-12)
        shift += float(np.clip(step, -1, 1))
        if abs(step) < 1e-10:
            break
    p = expit(log_odds + shift)
    return shift, float(1 / np.sqrt(max((p * (1 - p)).sum(), 1e-12)))


def calibration_line(probability, outcome) -> tuple[float, float]:
    """Slope of the outcome's log-odds on the predicted ones [2], and its standard error.

    1 is right, below 1 the predictions are too extreme. nan where one outcome is missing or all predictions are equal.
    """
    from scipy.special import expit, logit

    p, outcome = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6), np.asarray(outcome, float)
    if len(np.unique(outcome)) < 2 or np.ptp(p) == 0:
        return float("nan"), float("nan")
    x = logit(p)
    intercept, slope = _logistic_line(x, outcome)
    fitted = expit(intercept + slope * x)
    weight = fitted * (1 - fitted)
    spread = (weight * (x - np.average(x, weights=weight)) ** 2).sum() if weight.sum() else 0.0
    return slope, float(1 / np.sqrt(max(spread, 1e-12)))


def calibration_bins(probability, outcome, bins: int = BINS) -> pd.DataFrame:
    """Bins of equal count by predicted probability: bin, n, mean_probability, frequency.

    Rows of equal probability that two bins share count in both as they ended on average: in no bin by where they stand.
    """
    import pandas as pd

    p, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    _, group, count = np.unique(p, return_inverse=True, return_counts=True)
    outcome = (np.bincount(group, outcome) / count)[group]
    return pd.DataFrame(
        {
            "bin": np.arange(1, len(parts) + 1),
            "n": [len(part) for part in parts],
            "mean_probability": [p[part].mean() for part in parts],
            "frequency": [outcome[part].mean() for part in parts],
        }
    )


def calibration_error(probability, outcome, bins: int = BINS) -> float:
    """Mean distance between frequency and mean probability over bins of equal count, by rows."""
    table = calibration_bins(probability, outcome, bins)
    return float(np.average((table["mean_probability"] - table["frequency"]).abs(), weights=table["n"]))


def aim_of(earlier_cohorts: int) -> float:
    """How large the error may be beyond chance, by how many earlier cohorts trained."""
    return AIM if earlier_cohorts >= ENOUGH_COHORTS else AIM_OF_FEW


def levelled_error(probability, outcome, bins: int = BINS) -> float:
    """The calibration error that is left when all log-odds are moved alike, so that their mean is what came."""
    from scipy.special import expit, logit

    log_odds, outcome = logit(np.asarray(probability, float)), np.asarray(outcome, float)
    if len(np.unique(outcome)) < 2:
        return calibration_error(probability, outcome, bins)
    return calibration_error(expit(log_odds + fit_offset(log_odds, outcome)[0]), outcome, bins)


def sampling_calibration_errors(probability, *, bins: int = BINS, draws: int = 200, seed: int = 0) -> np.ndarray:
    """The errors that perfectly calibrated probabilities would show on as many rows by chance alone, shape (draws,)."""
    p = np.sort(np.asarray(probability, float))
    sizes = np.array([len(part) for part in np.array_split(p, bins) if len(part)])
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    found = np.empty(draws)
    for draw in range(draws):
        gaps = np.add.reduceat(p - (rng.random(len(p)) < p), starts)
        found[draw] = np.abs(gaps).sum() / len(p)
    return found


def _logistic_line(x: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of targets within [0, 1], Newton's method, steps halved."""
    from scipy.special import expit, logit

    design = np.column_stack([np.ones_like(x), x])
    beta = np.array([logit(np.clip(target.mean(), 1e-6, 1 - 1e-6)), 0.0])

    def loss(beta: np.ndarray) -> float:
        eta = design @ beta
        return float(np.sum(np.logaddexp(0, eta) - target * eta))

    at = loss(beta)
    for _ in range(STEPS):
        p = expit(design @ beta)
        information = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.lstsq(information, design.T @ (target - p), rcond=None)[0]
        while (after := loss(beta + step)) > at + 1e-12 * abs(at):
            step = step / 2
            if np.abs(step).max() < 1e-12:
                return float(beta[0]), float(beta[1])
        beta, at = beta + step, after
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])
