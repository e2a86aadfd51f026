"""How good risk scores are: discrimination, calibration, and what a support team that calls a share of learners gets.

Learners, not rows, are drawn for intervals: one learner in two courses is not two independent observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.calibration import calibration_error, calibration_slope
from dagster_project.stats.suppression import MINIMUM, suppress

if TYPE_CHECKING:
    import pandas as pd

CALLED_SHARES = (0.05, 0.10, 0.20)
FEWEST_IN_GROUP = 50
DRAWS = 400


def auc(probability, outcome) -> float:
    """Area under the ROC curve: the share of pairs in which the row with outcome 1 is scored higher, ties half.

    nan where one outcome is missing.
    """
    from sklearn.metrics import roc_auc_score

    outcome = np.asarray(outcome, bool)
    if outcome.all() or not outcome.any():
        return float("nan")
    return float(roc_auc_score(outcome, probability))


def foretold_auc(probability) -> float:
    """AUC that comes on average if the probabilities are right: how well they tell apart whom they tell apart [1].

    An observed AUC that stays behind it is no matter of who was scored: outcomes came by other rules, or are noise.

    Args:
        probability: array of shape (n,)

    References:
        [1] van Klaveren et al. (2016), A new concordance measure for risk prediction models in external validation
            settings, Statistics in Medicine 35, 4136-4152: the model-based concordance.
    """
    probability = np.asarray(probability, float)
    level, group = np.unique(probability, return_inverse=True)
    positives, negatives = np.bincount(group, probability), np.bincount(group, 1 - probability)
    alone = np.sum(probability * (1 - probability))  # a row makes no pair with itself
    pairs = positives.sum() * negatives.sum() - alone
    if len(level) == 0 or pairs <= 0:
        return float("nan")
    before = np.cumsum(negatives) - negatives
    return float((positives @ before + (positives @ negatives - alone) / 2) / pairs)


def auc_error(auc: float, positives: float, negatives: float) -> float:
    """Standard error of an AUC, after Hanley and McNeil (1982), Radiology 143, 29-36, formula 2."""
    if not positives or not negatives:
        return float("nan")
    both = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (positives - 1) * (both[0] - auc**2) + (negatives - 1) * (both[1] - auc**2)
    return float(np.sqrt((auc * (1 - auc) + spread) / (positives * negatives)))


def auprc(probability, outcome) -> float:
    """Average precision, rows of equal score taken together; nan without a positive row."""
    from sklearn.metrics import average_precision_score

    outcome = np.asarray(outcome, bool)
    return float(average_precision_score(outcome, probability)) if outcome.any() else float("nan")


def brier(probability, outcome) -> float:
    """Mean squared distance between probability and outcome."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(np.asarray(outcome, bool), probability, labels=[False, True]))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auc": auc,
    "auprc": auprc,
    "brier": brier,
    "calibration_error": calibration_error,
    "calibration_slope": calibration_slope,
}


def measure(probability, outcome) -> dict[str, float]:
    """n, n_positive, base_rate and every metric of rows of shape (n,)."""
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    counts = {"n": len(outcome), "n_positive": int(outcome.sum()), "base_rate": float(outcome.mean())}
    return counts | {name: metric(probability, outcome) for name, metric in METRICS.items()}


def bootstrap(
    probability,
    outcome,
    learner,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals by drawing learners with all their rows, with replacement.

    Args:
        probability, outcome, learner: arrays of shape (n,)
        metrics: names in ``METRICS``

    Returns:
        dict: lower and upper end by metric; nan ends where no draw has both outcomes.
    """
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    codes = np.unique(np.asarray(learner), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(size), len(size)), minlength=len(size))
        rows = np.repeat(order, np.repeat(times, size))
        for name in metrics:
            drawn[name].append(METRICS[name](probability[rows], outcome[rows]))
    tail = (1 - level) / 2
    return {
        name: tuple(np.nanquantile(values, [tail, 1 - tail])) if np.isfinite(values).any() else (np.nan, np.nan)
        for name, values in drawn.items()
    }


def subgroup_table(
    rows: pd.DataFrame,
    columns: Sequence[str],
    alert_at: float,
    *,
    fewest: int = FEWEST_IN_GROUP,
    minimum: int = MINIMUM,
) -> pd.DataFrame:
    """How the scores do for parts of the learners, and how often each part is alerted and missed.

    Args:
        rows: ``probability``, ``outcome`` and the columns.
        alert_at: probability from which a learner is alerted.
        fewest: smaller groups get their n and no figure: they would tell more about chance.
        minimum: where a group is smaller than that, its figure would be about persons: it has not even its n, and nor
            has a larger one from which it would follow.

    Returns:
        DataFrame: subgroup, value, n, n_positive, base_rate, mean_probability, auc, calibration_error, alert_rate,
        false_negative_rate with its 95 % Wilson interval (false_negative_low, false_negative_high).
    """
    import pandas as pd

    found = []
    for column in columns:
        parts = list(rows.groupby(column, dropna=False, observed=True))
        # The figures of all learners are known: less those of all groups but one, they would be that one's.
        withheld = suppress([len(part) for _, part in parts], pd.DataFrame(index=range(len(parts))), minimum=minimum)
        for (value, part), reason in zip(parts, withheld, strict=True):
            outcome, probability = part["outcome"].to_numpy(float), part["probability"].to_numpy(float)
            positives = int(outcome.sum())
            row: dict[str, Any] = {"subgroup": column, "value": "unknown" if pd.isna(value) else str(value)}
            if reason is None:
                row["n"] = len(part)
            if reason is None and len(part) >= fewest:
                missed = int((outcome * (probability < alert_at)).sum())
                low, high = wilson_interval(missed, positives)
                row |= {
                    "n_positive": positives,
                    "base_rate": outcome.mean(),
                    "mean_probability": probability.mean(),
                    "auc": auc(probability, outcome),
                    "calibration_error": calibration_error(probability, outcome),
                    "alert_rate": float(np.mean(probability >= alert_at)),
                    "false_negative_rate": missed / positives if positives else np.nan,
                    "false_negative_low": low,
                    "false_negative_high": high,
                }
            found.append(row)
    names = ["subgroup", "value", "n", "n_positive", "base_rate", "mean_probability", "auc", "calibration_error"]
    names += ["alert_rate", "false_negative_rate", "false_negative_low", "false_negative_high"]
    return pd.DataFrame(found).reindex(columns=names).astype({"n": "Int64"})


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share; nan without trials."""
    from statsmodels.stats.proportion import proportion_confint

    if not trials:
        return float("nan"), float("nan")
    low, high = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))  # beyond by rounding only


def ranking_report(rows: pd.DataFrame, shares: Sequence[float] = CALLED_SHARES) -> pd.DataFrame:
    """What a team gets that each week calls the share of learners with the highest scores.

    Args:
        rows: one row per enrolled learner and week: ``enrollment``, ``week``, ``probability``, ``outcome`` and
            ``withdrawal_day`` (days from the first day, nan: did not withdraw).

    Returns:
        DataFrame: called_share, weeks, precision and recall (means over weeks), median_days_to_withdrawal (from a
        learner's first day on the list, those who withdrew later), weekly_turnover (share of the list that was not on
        it a week before, of those enrolled then).
    """
    import pandas as pd

    ordered = rows.sort_values(["week", "probability", "enrollment"], ascending=[True, False, True])
    place = ordered.groupby("week").cumcount()
    size = ordered.groupby("week")["enrollment"].transform("size")
    found = []
    for share in shares:
        called = ordered[place < np.ceil(share * size)]
        weeks = called.groupby("week")
        precision = weeks["outcome"].mean()
        recall = weeks["outcome"].sum() / ordered.groupby("week")["outcome"].sum().replace(0, np.nan)
        first = called.groupby("enrollment").agg(week=("week", "min"), withdrawal_day=("withdrawal_day", "first"))
        ahead = (first["withdrawal_day"] - 7 * first["week"]).dropna()
        lists = {week: set(part["enrollment"]) for week, part in weeks}
        new = [len(lists[week] - lists[week - 1]) / len(lists[week]) for week in lists if week - 1 in lists]
        found.append(
            {
                "called_share": share,
                "weeks": len(lists),
                "precision": precision.mean(),
                "recall": recall.mean(),
                "median_days_to_withdrawal": ahead[ahead >= 0].median(),
                "weekly_turnover": float(np.mean(new)) if new else np.nan,
            }
        )
    return pd.DataFrame(found)
