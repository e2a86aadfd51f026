"""From a model's log-odds to probabilities, and how far probabilities are from frequencies.

References:
    [1] Platt (1999), Probabilistic outputs for support vector machines, Advances in Large Margin Classifiers, 61-74.
    [2] Zadrozny and Elkan (2002), Transforming classifier scores into accurate multiclass probability estimates, KDD.
    [3] Cox (1958), Two further applications of a model for binary regression, Biometrika 45, 562-565: the slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ISOTONIC_FROM_POSITIVES = 1000
BINS = 10
STEPS = 50


@dataclass(frozen=True)
class Platt:
    """Probability = expit(intercept + slope · log-odds) [1]."""

    slope: float
    intercept: float

    def probability(self, log_odds) -> np.ndarray:
        """Probabilities (n,) of log-odds (n,)."""
        from scipy.special import expit

        return expit(self.intercept + self.slope * np.asarray(log_odds, float))

    def to_dict(self) -> dict:
        """As JSON holds it, for `read_calibration`."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Isotonic:
    """A never falling curve through ``(log_odds, probability)``, straight between its points [2]."""

    log_odds: tuple[float, ...]
    fitted: tuple[float, ...]

    def probability(self, log_odds) -> np.ndarray:
        """Probabilities (n,) of log-odds (n,); beyond the fitted ones that of the nearest."""
        return np.interp(np.asarray(log_odds, float), self.log_odds, self.fitted)

    def to_dict(self) -> dict:
        """As JSON holds it, for `read_calibration`."""
        return {"kind": "isotonic", "log_odds": list(self.log_odds), "fitted": list(self.fitted)}


Calibration: TypeAlias = Platt | Isotonic


def read_calibration(saved: dict) -> Calibration:
    """What ``to_dict`` gave, as it was."""
    if saved["kind"] == "platt":
        return Platt(saved["slope"], saved["intercept"])
    return Isotonic(tuple(saved["log_odds"]), tuple(saved["fitted"]))


def fit_calibration(log_odds, outcome) -> Calibration:
    """Fit on rows that the model has not seen: isotonic from 1,000 rows of the rarer outcome on, else Platt's line.

    Below that an isotonic curve follows the noise.

    Args:
        log_odds, outcome: arrays of shape (n,)
    """
    from sklearn.isotonic import IsotonicRegression

    log_odds, outcome = np.asarray(log_odds, float), np.asarray(outcome, float)
    if min(outcome.sum(), (1 - outcome).sum()) < ISOTONIC_FROM_POSITIVES:
        return fit_platt(log_odds, outcome)
    # Certainty is more than any sample shows: the ends of the curve stay half a row away from 0 and 1.
    end = 0.5 / len(outcome)
    curve = IsotonicRegression(y_min=end, y_max=1 - end, out_of_bounds="clip").fit(log_odds, outcome)
    return Isotonic(tuple(curve.X_thresholds_.tolist()), tuple(curve.y_thresholds_.tolist()))


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


def calibration_slope(probability, outcome) -> float:
    """Slope of the outcome's log-odds on the predicted ones [3]: 1 is right, below 1 the predictions are too extreme.

    nan where one outcome is missing or all predictions are equal.
    """
    from scipy.special import logit

    p, outcome = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6), np.asarray(outcome, float)
    if len(np.unique(outcome)) < 2 or np.ptp(p) == 0:
        return float("nan")
    return _logistic_line(logit(p), outcome)[1]


def calibration_bins(probability, outcome, bins: int = BINS) -> pd.DataFrame:
    """Bins of equal count by predicted probability: bin, n, mean_probability, frequency."""
    import pandas as pd

    order = np.argsort(np.asarray(probability, float), kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    p, outcome = np.asarray(probability, float), np.asarray(outcome, float)
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


def sampling_calibration_error(probability, *, bins: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The error that perfectly calibrated probabilities would show on as many rows, by chance alone."""
    p = np.asarray(probability, float)
    rng = np.random.default_rng(seed)
    return float(np.mean([calibration_error(p, rng.random(len(p)) < p, bins) for _ in range(draws)]))


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
