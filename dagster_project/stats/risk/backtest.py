"""Would the scores have held? Each matured cohort is predicted by models of what had matured before it began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.calibration import calibration_bins, sampling_calibration_error
from dagster_project.stats.risk.drift import SCORE, drift_table
from dagster_project.stats.risk.metrics import foretold_auc, measure, ranking_report, subgroup_table
from dagster_project.stats.risk.models import MODELS, SEED, BoostedTrees, Feature, SevenDayRule
from dagster_project.stats.risk.training import Columns, RiskScorer, fit_scorer
from dagster_project.stats.suppression import MINIMUM

if TYPE_CHECKING:
    import pandas as pd

WEEKS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20)
FEWEST_TRAINING_LEARNERS = 150
FEWEST_OF_EACH_OUTCOME = 25
FEWEST_FOR_DRIFT = 500
MOST_ORIGINS = 2
BETTER_AUC = 0.002  # a challenger must win by more than the seed of a fit changes


@dataclass(frozen=True)
class Split:
    """Rows that had matured before a cohort began, and the cohort."""

    name: str
    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Backtest:
    """Tables of evidence; all empty where no cohort could be predicted. `winner`: kind of the next champion, if fit."""

    metrics: pd.DataFrame
    calibration: pd.DataFrame
    subgroups: pd.DataFrame
    ranking: pd.DataFrame
    drift: pd.DataFrame
    winner: str
    decision: str


def is_enough(rows: pd.DataFrame, outcome: str, learner: str) -> bool:
    """Whether rows can train a model or judge one."""
    ends = rows.groupby(learner)[outcome].max()
    positives = int(ends.sum())
    return len(ends) >= FEWEST_TRAINING_LEARNERS and min(positives, len(ends) - positives) >= FEWEST_OF_EACH_OUTCOME


def splits(
    frame: pd.DataFrame, outcome: str, columns: Columns, *, term: str, starts_on: str, known_on: str
) -> Iterator[Split]:
    """The last matured cohorts with enough before them, oldest first.

    A cohort trains only when its outcomes (but for one in a hundred, that nobody waits for) were known before the
    other cohort began: withdrawals are known first, and the rows that have matured so far would be nearly all
    withdrawals.
    """
    cohorts = frame.groupby(term).agg(
        starts_on=(starts_on, "min"), known_on=(known_on, lambda days: days.quantile(0.99))
    )
    cohorts = cohorts.sort_values("starts_on")
    for name in cohorts.index[-MOST_ORIGINS:]:
        earlier = cohorts.index[cohorts["known_on"] < cohorts.loc[name, "starts_on"]]
        train, test = frame[frame[term].isin(earlier)], frame[frame[term] == name]
        if is_enough(train, outcome, columns.learner) and is_enough(test, outcome, columns.learner):
            yield Split(str(name), train, test)


def backtest(
    cohorts: Sequence[Split],
    outcome: str,
    features: Sequence[Feature],
    columns: Columns,
    *,
    incumbent: str = BoostedTrees.kind,
    alert_at: float,
    subgroups: Sequence[str],
    enrollment: str,
    withdrawal_day: str,
    minimum_group: int = MINIMUM,
    seed: int = SEED,
    **fitting: Any,
) -> Backtest:
    """Every model on the last cohort, the incumbent on the earlier ones too.

    Args:
        cohorts, outcome, features, columns: as `splits` gives them, and as `fit_scorer` has them.
        incumbent: kind of the present champion
        alert_at: probability from which a learner is alerted
        subgroups: columns of the subgroup table
        enrollment, withdrawal_day: columns of the ranking report
        minimum_group: fewest learners of a week or subgroup that has figures
        fitting: further arguments of `fit_scorer`

    Returns:
        A `Backtest`. Its metrics: split, week_number, model, is_champion, n, n_positive, base_rate, auc, auprc, brier,
        calibration_error, calibration_slope, calibration_error_by_chance, auc_foretold. Of the winner on the last
        cohort: calibration (the curve over all weeks), subgroups, ranking and drift (against the cohorts it was trained
        on).
    """
    import pandas as pd

    metrics, scored, scorers = [], {}, {}
    for position, split in enumerate(cohorts):
        is_last = position == len(cohorts) - 1
        for kind in MODELS if is_last else [incumbent]:
            if kind == SevenDayRule.kind and SevenDayRule.COLUMN not in split.train:
                continue
            scorer = fit_scorer(split.train, outcome, features, columns, kind=kind, seed=seed, **fitting)
            test = split.test.join(scorer.score(split.test)).rename(columns={outcome: "outcome"})
            if is_last:
                scored[kind], scorers[kind] = test, scorer
            for week, rows in test[test[columns.week].isin(WEEKS)].groupby(columns.week):
                if len(rows) < minimum_group:
                    continue
                found = measure(rows["probability"], rows["outcome"])
                by_chance = sampling_calibration_error(rows["probability"], draws=50)
                line: dict[str, Any] = {"split": split.name, "week_number": int(week), "model": kind}
                line |= {"calibration_error_by_chance": by_chance, "auc_foretold": foretold_auc(rows["probability"])}
                metrics.append(line | found)
    if not scored:
        empty = pd.DataFrame()
        return Backtest(empty, empty, empty, empty, empty, incumbent, "No cohort could be predicted from earlier ones")
    winner, decision = _challenge(scored, columns.week, incumbent)
    table = pd.DataFrame(metrics)
    table["is_champion"] = table["model"] == winner
    last, rows = cohorts[-1].name, scored[winner]
    week = rows[columns.week]
    ranked = rows.assign(enrollment=rows[enrollment], week=week, withdrawal_day=rows[withdrawal_day])
    known = [column for column in subgroups if column in rows and rows[column].nunique() > 1]
    return Backtest(
        table,
        calibration_bins(rows["probability"], rows["outcome"]).assign(split=last),
        subgroup_table(rows[week == _middle(week)], known, alert_at, minimum=minimum_group).assign(
            split=last, week_number=_middle(week)
        ),
        ranking_report(ranked[week <= WEEKS[-1]]).assign(split=last),
        cohort_drift(scorers[winner], cohorts[-1].train, rows, columns.week),
        winner,
        decision,
    )


def last_split(metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics on the newest cohort; empty where there are none."""
    return metrics[metrics["split"] == metrics["split"].max()] if len(metrics) else metrics


def _middle(week: pd.Series) -> int:
    """The week nearest to the fourth: early enough to help, late enough to know something."""
    known = np.unique(week)
    return int(known[np.argmin(np.abs(known - 4))])


def _challenge(scored: Mapping[str, pd.DataFrame], week: str, incumbent: str) -> tuple[str, str]:
    """The next champion: a challenger that can explain itself wins with a better AUC by week and Brier score."""

    def quality(rows: pd.DataFrame) -> tuple[float, float]:
        found = [measure(part["probability"], part["outcome"]) for _, part in rows.groupby(week)]
        return float(np.nanmean([x["auc"] for x in found])), float(np.mean([x["brier"] for x in found]))

    marks = {kind: quality(rows) for kind, rows in scored.items() if MODELS[kind].is_explainable}
    auc, brier = marks[incumbent]
    winners = [kind for kind, (a, b) in marks.items() if a > auc + BETTER_AUC and b < brier]
    told = ", ".join(f"{kind} AUC {a:.3f} Brier {b:.3f}" for kind, (a, b) in marks.items())
    if not winners:
        return incumbent, f"{incumbent} stays: {told}"
    winner = max(winners, key=lambda kind: marks[kind][0])
    return winner, f"{winner} replaces {incumbent}: {told}"


def cohort_drift(
    scorer: RiskScorer, trained: pd.DataFrame, now: pd.DataFrame, week: str, compared: np.ndarray | None = None
) -> pd.DataFrame:
    """How far rows are from the trained ones of the same weeks of term.

    Args:
        trained, now: whole cohorts.
        week: column of the week of term
        compared (array of bool, shape (rows of now,), optional): the rows that are judged; all if not given.

    Returns:
        DataFrame: `drift_table` of the features' columns and of the model's log-odds ("score"); the level is "too few
        rows" where one side has fewer than `FEWEST_FOR_DRIFT`.
    """
    import pandas as pd

    now = now.assign(score=scorer.log_odds(now))
    now = now if compared is None else now[compared]
    shares = now[week].value_counts(normalize=True)
    trained = trained[trained[week].isin(shares.index)]
    encoded = scorer.encoder.encode(trained)
    trained = trained.assign(score=scorer.model.log_odds(encoded))
    columns = list(dict.fromkeys(column for feature in scorer.encoder.features for column in feature.columns))
    if trained.empty:
        return pd.DataFrame({"feature": [*columns, SCORE]}).assign(psi=np.nan, importance=np.nan, level="too few rows")
    # Cohorts start on different days: as many rows of each week as there are now, or the calendar would be the drift.
    expected = pd.concat(
        [
            rows.sample(round(shares[value] * len(trained)), replace=True, random_state=SEED)
            for value, rows in trained.groupby(week)
        ]
    )
    table = drift_table(expected, now, [*columns, SCORE], scorer.importance(encoded))
    if min(len(trained), len(now)) < FEWEST_FOR_DRIFT:
        table["level"] = "too few rows"
    return table


def leaking_features(
    full: pd.DataFrame, truncated: pd.DataFrame, key: Sequence[str], columns: Sequence[str]
) -> list[str]:
    """Columns whose values change when everything dated later is taken away, and rows that do ("row").

    Args:
        full, truncated: the same features of the same learners and day, from all data and from what was known on that
            day.
    """
    import pandas as pd

    both = full.merge(truncated, on=list(key), how="outer", suffixes=("", " then"), indicator="found in")
    leaks = ["row"] if (both["found in"] != "both").any() else []
    both = both[both["found in"] == "both"]
    for column in columns:
        now, then = both[column], both[f"{column} then"]
        if pd.api.types.is_numeric_dtype(now) and pd.api.types.is_numeric_dtype(then):
            same = np.isclose(now.to_numpy(float), then.to_numpy(float), rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            same = ((now == then) | (now.isna() & then.isna())).to_numpy(bool)
        if not same.all():
            leaks.append(column)
    return leaks


def stability(
    first: RiskScorer,
    second: RiskScorer,
    frame: pd.DataFrame,
    actionable: Sequence[str],
    *,
    rows: np.ndarray | None = None,
) -> float:
    """Mean Jaccard of the reasons that two scorers tell of the same learners; arguments as of `RiskScorer.reasons`."""
    import pandas as pd

    told = [
        scorer.reasons(frame, actionable, rows=rows).groupby("row")["reason"].agg(frozenset)
        for scorer in (first, second)
    ]
    pairs = pd.concat(told, axis=1).map(lambda reasons: reasons if isinstance(reasons, frozenset) else frozenset())
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs.itertuples(index=False)]))
