"""How good risk scores are: discrimination, calibration, and what a support team that calls a share of learners gets.

Learners, not rows, are drawn for intervals: one learner in two courses is not two independent observations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.bands import places_of
from dagster_project.stats.risk.calibration import calibration_error, calibration_line
from dagster_project.stats.suppression import MINIMUM, suppress

if TYPE_CHECKING:
    import pandas as pd

CALLED_SHARES = (0.05, 0.10, 0.20)
FEWEST_IN_GROUP = 50
GROUP = 200  # learners with similar scores, by whom intervals are judged
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
}


def measure(probability, outcome) -> dict[str, float]:
    """n, n_positive, base_rate, every metric, and the calibration slope with its error, of rows of shape (n,)."""
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, float)
    counts = {"n": len(outcome), "n_positive": int(outcome.sum()), "base_rate": float(outcome.mean())}
    found = {name: metric(probability, outcome) for name, metric in METRICS.items()}
    slope, error = calibration_line(probability, outcome)
    return counts | found | {"calibration_slope": slope, "calibration_slope_error": error}


def bootstrap_auc(
    probabilities: Mapping[str, np.ndarray], outcome, learner, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, np.ndarray]:
    """AUC of several models in the same draws of learners with all their rows, with replacement: shape (draws,) each.

    Args:
        probabilities: by model, arrays of shape (n,)
        outcome: shape (n,)
        learner: number of each row's learner from 0 on, shape (n,). The draws depend on these numbers: they must not
            depend on how learners are called (`Rows.learners`).
    """
    outcome, learner = np.asarray(outcome, bool), np.asarray(learner)
    learner = np.unique(learner, return_inverse=True)[1]
    size = int(learner.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    times = [np.bincount(rng.integers(0, size, size), minlength=size) for _ in range(draws)]
    found = {}
    for name, probability in probabilities.items():
        level, group = np.unique(np.asarray(probability, float), return_inverse=True)
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(len(level)))
        of_learner, is_positive = learner[order], outcome[order]
        found[name] = np.array([_weighted_auc(drawn[of_learner], is_positive, starts) for drawn in times])
    return found


def _weighted_auc(weight: np.ndarray, is_positive: np.ndarray, starts: np.ndarray) -> float:
    """Of rows by ascending score, groups of equal scores from ``starts`` on."""
    positives = np.add.reduceat(weight * is_positive, starts)
    negatives = np.add.reduceat(weight * ~is_positive, starts)
    pairs = positives.sum() * negatives.sum()
    before = np.cumsum(negatives) - negatives
    return float((positives @ before + positives @ negatives / 2) / pairs) if pairs else float("nan")


def interval_of(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of draws; nan where none is a number."""
    if not np.isfinite(values).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def held_groups(rows: pd.DataFrame, size: int = GROUP) -> tuple[int, int]:
    """In how many groups of learners with similar scores the interval holds what came, and how many groups there are.

    Args:
        rows: ``probability``, ``low``, ``high`` and ``outcome`` of one week. The mean interval of a group and Wilson's
            95 % interval of its frequency must meet.
        size: learners of a group, at the least.
    """
    from statsmodels.stats.proportion import proportion_confint

    if len(rows) < size:
        return 0, 0
    order = np.lexsort((rows["outcome"], rows["probability"]))
    outcome, low, high = (rows[name].to_numpy(float)[order] for name in ("outcome", "low", "high"))
    counts = np.array([len(part) for part in np.array_split(order, len(rows) // size)])
    starts = np.cumsum(counts) - counts
    share, low, high = (np.add.reduceat(values, starts) / counts for values in (outcome, low, high))
    least, most = proportion_confint(np.round(share * counts), counts, method="wilson")
    return int(((low <= most) & (least <= high)).sum()), len(counts)


def subgroup_table(
    rows: pd.DataFrame,
    columns: Sequence[str],
    *,
    fewest: int = FEWEST_IN_GROUP,
    minimum: int = MINIMUM,
) -> pd.DataFrame:
    """How the scores do for parts of the learners, and how often each part is called and missed.

    Args:
        rows: ``probability``, ``outcome``, ``is_called`` (whether the learner is on the call list) and the columns.
        fewest: smaller groups get their n and no figure: they would tell more about chance.
        minimum: where a group is smaller than that, its figure would be about persons: it has not even its n, and nor
            has a larger one from which it would follow.

    Returns:
        DataFrame: subgroup, value, n, n_positive, base_rate, mean_probability, auc, calibration_error, call_rate,
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
                is_called = part["is_called"].to_numpy(bool)
                missed = int((outcome * ~is_called).sum())
                low, high = wilson_interval(missed, positives)
                row |= {
                    "n_positive": positives,
                    "base_rate": outcome.mean(),
                    "mean_probability": probability.mean(),
                    "auc": auc(probability, outcome),
                    "calibration_error": calibration_error(probability, outcome),
                    "call_rate": float(np.mean(is_called)),
                    "false_negative_rate": missed / positives if positives else np.nan,
                    "false_negative_low": low,
                    "false_negative_high": high,
                }
            found.append(row)
    names = ["subgroup", "value", "n", "n_positive", "base_rate", "mean_probability", "auc", "calibration_error"]
    names += ["call_rate", "false_negative_rate", "false_negative_low", "false_negative_high"]
    return pd.DataFrame(found).reindex(columns=names).astype({"n": "Int64"})


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share; nan without trials."""
    from statsmodels.stats.proportion import proportion_confint

    if not trials:
        return float("nan"), float("nan")
    low, high = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))  # beyond by rounding only


def called_figures(rows: pd.DataFrame, share: float, *, minimum: int = MINIMUM) -> dict[str, float]:
    """What a team gets that calls this share of each cohort: n_called, called_precision, called_recall, called_lift.

    Args:
        rows: one row per learner enrolled in one week: ``place`` in the cohort, its ``size`` (`call_places`),
            ``outcome``.
        minimum: of fewer called learners the figures would be about persons: nan.
    """
    is_called = _is_called(rows, share)
    outcome = rows["outcome"].to_numpy(float)
    count, positives = int(is_called.sum()), outcome.sum()
    if count < minimum:
        return dict.fromkeys(("n_called", "called_precision", "called_recall", "called_lift"), np.nan)
    precision = outcome[is_called].mean()
    recall = outcome[is_called].sum() / positives if positives else np.nan
    lift = precision / outcome.mean() if positives else np.nan
    return {"n_called": count, "called_precision": precision, "called_recall": recall, "called_lift": lift}


def ranking_report(rows: pd.DataFrame, shares: Sequence[float] = CALLED_SHARES) -> pd.DataFrame:
    """What a team gets that each week calls the share of each cohort with the highest scores.

    Args:
        rows: one row per enrolled learner and week: ``enrollment``, ``week``, ``place`` in the cohort and its ``size``
            (`call_places`), ``outcome`` and ``withdrawal_day`` (days from the first day, nan: did not withdraw).

    Returns:
        DataFrame: called_share, weeks, precision, recall and lift (means over weeks), median_days_to_withdrawal (from a
        learner's first day on the list, those who withdrew later), weekly_turnover (share of the list that was not on
        it a week before, of those enrolled then).
    """
    import pandas as pd

    found = []
    every = rows.groupby("week")["outcome"]
    for share in shares:
        called = rows[_is_called(rows, share)]
        weeks = called.groupby("week")
        precision = weeks["outcome"].mean()
        recall = weeks["outcome"].sum() / every.sum().replace(0, np.nan)
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
                "lift": (precision / every.mean().replace(0, np.nan)).mean(),
                "median_days_to_withdrawal": ahead[ahead >= 0].median(),
                "weekly_turnover": float(np.mean(new)) if new else np.nan,
            }
        )
    return pd.DataFrame(found)


def _is_called(rows: pd.DataFrame, share: float) -> np.ndarray:
    return rows["place"].to_numpy() <= places_of(share, rows["size"])
