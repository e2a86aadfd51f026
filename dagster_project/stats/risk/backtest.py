"""Would the scores have held? Each matured cohort is predicted by models of what had matured before it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.bands import call_bands, call_places
from dagster_project.stats.risk.calibration import (
    calibration_bins,
    levelled_error,
    sampling_calibration_errors,
)
from dagster_project.stats.risk.drift import SCORE, Reference, drift_table, fit_reference
from dagster_project.stats.risk.metrics import (
    bootstrap_auc,
    called_figures,
    foretold_auc,
    held_groups,
    interval_of,
    measure,
    ranking_report,
    subgroup_table,
)
from dagster_project.stats.risk.models import MODELS, SEED, BoostedTrees, SevenDayRule
from dagster_project.stats.risk.rows import Columns, Rows
from dagster_project.stats.risk.training import RiskScorer, draw_training_rows, fit_scorer
from dagster_project.stats.suppression import MINIMUM

if TYPE_CHECKING:
    import pandas as pd

WEEKS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52)
FEWEST_TRAINING_LEARNERS = 150
FEWEST_OF_EACH_OUTCOME = 25
MOST_ORIGINS = 2
CALLED_SHARE = 0.10  # of a cohort, by whom a model is judged whatever a team can call
REFERENCE_ROWS = 50_000
SMALL_COHORT = 0.25  # of the largest's learners: a side cohort tells little, however new it is
PREDICTION_COLUMNS = ("enrollment_key", "learner_key", "program_key", "course_key", "peer_group")


@dataclass(frozen=True)
class Split:
    """Rows that had matured before a cohort began, and the cohort; `earlier`: how many cohorts the former are of."""

    name: str
    train: Rows
    test: Rows
    earlier: int


@dataclass(frozen=True)
class Backtest:
    """Tables of evidence; all empty where no cohort could be predicted. `winner`: kind of the next champion, if fit."""

    metrics: pd.DataFrame
    predictions: pd.DataFrame
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


def splits(rows: Rows, outcome: str, columns: Columns, *, starts_on: str, known_on: str) -> Iterator[Split]:
    """The last matured cohorts that are no side cohorts and have enough before them, oldest first.

    A cohort trains only when its outcomes (but for one in a hundred, that nobody waits for) were known before the
    other cohort began: withdrawals are known first, and the rows that have matured so far would be nearly all
    withdrawals.
    """
    rows = rows.ordered(columns.offering, columns.week, outcome, columns.withdrawal_day)
    frame = rows.frame
    cohorts = frame.groupby(columns.term).agg(
        starts_on=(starts_on, "min"),
        known_on=(known_on, lambda days: days.quantile(0.99)),
        learners=(columns.learner, "nunique"),
    )
    cohorts = cohorts.sort_values("starts_on")
    main = cohorts.index[cohorts["learners"] >= SMALL_COHORT * cohorts["learners"].max()]
    for name in main[-MOST_ORIGINS:]:
        earlier = cohorts.index[cohorts["known_on"] < cohorts.loc[name, "starts_on"]]
        is_earlier, is_tested = frame[columns.term].isin(earlier).to_numpy(), (frame[columns.term] == name).to_numpy()
        if all(is_enough(frame[chosen], outcome, columns.learner) for chosen in (is_earlier, is_tested)):
            yield Split(str(name), rows.take(is_earlier), rows.take(is_tested), len(earlier))


def backtest(
    cohorts: Sequence[Split],
    outcome: str,
    columns: Columns,
    *,
    incumbent: str = BoostedTrees.kind,
    subgroups: Sequence[str],
    called_among: Sequence[str],
    call_shares: Callable[[pd.DataFrame], np.ndarray],
    minimum_group: int = MINIMUM,
    seed: int = SEED,
    **fitting: Any,
) -> Backtest:
    """Every model on every cohort.

    Which kind wins is decided on all cohorts but the last, which the reader looks at; of a single cohort the incumbent
    stays.

    Args:
        cohorts, outcome, columns: as `splits` gives them, and as `draw_training_rows` has them.
        incumbent: kind of the present champion
        subgroups: columns of the subgroup table
        called_among: columns that name, with the week, among whom a team chooses whom to call
        call_shares: how much of a cohort a team can call at once and next (`call_bands`), of each row of a frame
        minimum_group: fewest learners of a week or subgroup that has figures
        fitting: further arguments of `draw_training_rows`

    Returns:
        A `Backtest`. Its metrics: split, earlier_cohorts, week_number, model, is_champion, n, n_positive, base_rate,
        auc, auc_low, auc_high (95 %), auprc, brier, calibration_error, calibration_error_levelled (all probabilities
        of the week moved to the level that came), calibration_error_by_chance,
        calibration_error_most_by_chance (95 % of draws), calibration_slope, calibration_slope_error, auc_foretold,
        groups, groups_in_interval, n_called, called_precision, called_recall, called_lift. Predictions: split, model,
        week_number, keys, probability, probability_low, probability_high of the same rows. Of the winner: calibration
        by split (the curve over all weeks), and on the last cohort subgroups, ranking and drift (against the cohorts it
        was trained on).
    """
    import pandas as pd

    metrics, tested, draws = [], {}, {}
    among = [*called_among, columns.week]
    for split in cohorts:
        learner = split.test.learners(columns.learner, outcome)
        frame = split.test.frame.rename(columns={outcome: "outcome"}).assign(tie=learner, learner=learner)
        training = draw_training_rows(split.train, outcome, columns, seed=seed, **fitting)
        for kind in MODELS:
            if kind == SevenDayRule.kind and not SevenDayRule.can_be_fitted(split.train):
                continue
            scorer = fit_scorer(training, kind)
            scored = frame.join(scorer.score(split.test))
            scored = scored.join(call_places(scored, among))
            tested[split.name, kind] = scored, scorer
        for week, positions in frame[frame[columns.week].isin(WEEKS)].groupby(columns.week).groups.items():
            if len(positions) < minimum_group:
                continue
            rows = {kind: table.loc[positions] for (name, kind), (table, _) in tested.items() if name == split.name}
            one = next(iter(rows.values()))
            drawn = bootstrap_auc(
                {kind: part["probability"].to_numpy() for kind, part in rows.items()}, one["outcome"], one["learner"]
            )
            draws[split.name, week] = drawn
            for kind, part in rows.items():
                line: dict[str, Any] = {"split": split.name, "earlier_cohorts": split.earlier}
                line |= {"week_number": int(week), "model": kind, **measure(part["probability"], part["outcome"])}
                line["auc_low"], line["auc_high"] = interval_of(drawn[kind])
                line["calibration_error_levelled"] = levelled_error(part["probability"], part["outcome"])
                by_chance = sampling_calibration_errors(part["probability"], draws=100)
                line["calibration_error_by_chance"] = by_chance.mean()
                line["calibration_error_most_by_chance"] = np.quantile(by_chance, 0.95)
                line["auc_foretold"] = foretold_auc(part["probability"])
                line["groups_in_interval"], line["groups"] = held_groups(part)
                metrics.append(line | called_figures(part, CALLED_SHARE, minimum=minimum_group))
    if not metrics:
        return Backtest(*[pd.DataFrame()] * 6, incumbent, "No cohort could be predicted from earlier ones")
    table = pd.DataFrame(metrics)
    winner, decision = _challenge(table, draws, cohorts[-1].name, incumbent)
    table["is_champion"] = table["model"] == winner
    last = cohorts[-1].name
    rows, scorer = tested[last, winner]
    week = rows[columns.week]
    rows = rows.assign(
        is_called=call_bands(rows, among, call_shares(rows)) != "low", week=week, enrollment=rows["enrollment_key"]
    )
    known = [column for column in subgroups if column in rows and rows[column].nunique() > 1]
    curves = [
        calibration_bins(part["probability"], part["outcome"]).assign(split=name)
        for (name, kind), (part, _) in tested.items()
        if kind == winner
    ]
    return Backtest(
        table,
        _predictions(tested, columns, minimum_group),
        pd.concat(curves),
        subgroup_table(rows[week == _middle(week)], known, minimum=minimum_group).assign(
            split=last, week_number=_middle(week)
        ),
        ranking_report(rows).assign(split=last),
        cohort_drift(scorer, reference_of(scorer, cohorts[-1].train), cohorts[-1].test),
        winner,
        decision,
    )


def _predictions(
    tested: Mapping[tuple[str, str], tuple[pd.DataFrame, RiskScorer]], columns: Columns, minimum_group: int
) -> pd.DataFrame:
    """Rows behind the metrics, by learner."""
    import pandas as pd

    parts = []
    for (split, kind), (rows, _) in tested.items():
        rows = rows[rows[columns.week].isin(WEEKS)]
        rows = rows[rows.groupby(columns.week)[columns.week].transform("size") >= minimum_group]
        keys = [column for column in PREDICTION_COLUMNS if column in rows]
        part = rows[[*keys, "probability", "low", "high", "log_odds"]].assign(week_number=rows[columns.week])
        parts.append(part.assign(split=split, model=kind))
    return pd.concat(parts, ignore_index=True).rename(columns={"low": "probability_low", "high": "probability_high"})


def last_split(metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics on the newest cohort; empty where there are none."""
    return metrics[metrics["split"] == metrics["split"].max()] if len(metrics) else metrics


def _middle(week: pd.Series) -> int:
    """The week nearest to the fourth: early enough to help, late enough to know something."""
    known = np.unique(week)
    return int(known[np.argmin(np.abs(known - 4))])


def _challenge(
    metrics: pd.DataFrame, draws: Mapping[tuple[str, int], Mapping[str, np.ndarray]], last: str, incumbent: str
) -> tuple[str, str]:
    """The next champion: a challenger that can explain itself wins by more AUC than chance gives, and by Brier score.

    On the cohorts before the last, by the mean over weeks; the AUC's difference beyond 95 % of the paired draws.
    """
    judged = metrics[(metrics["split"] != last) & metrics["model"].map(lambda kind: MODELS[kind].is_explainable)]
    if judged.empty:
        return incumbent, f"{incumbent} stays: there is no cohort to choose on but the last, which is reported"
    mean = judged.groupby("model")[["auc", "brier"]].mean()
    told = ", ".join(f"{kind} AUC {x['auc']:.3f} Brier {x['brier']:.3f}" for kind, x in mean.iterrows())
    where = ", ".join(sorted(judged["split"].unique()))
    beaten = {}
    for kind in mean.index.drop(incumbent):
        paired = [drawn[kind] - drawn[incumbent] for (split, _), drawn in draws.items() if split != last]
        low, _ = interval_of(np.mean(paired, axis=0))
        if low > 0 and mean.loc[kind, "brier"] < mean.loc[incumbent, "brier"]:
            beaten[kind] = mean.loc[kind, "auc"]
    if not beaten:
        return incumbent, f"{incumbent} stays on {where}: {told}"
    winner = max(beaten, key=lambda kind: beaten[kind])
    return winner, f"{winner} replaces {incumbent} on {where}: {told}"


def reference_of(scorer: RiskScorer, rows: Rows) -> Reference:
    """How the rows lie that a scorer was trained on; of many a part tells it as well."""
    rows = rows.drawn(REFERENCE_ROWS).ordered(scorer.columns.week)
    matrix = scorer.encoder.encode(rows)
    return fit_reference(
        _named(scorer, matrix), rows.frame[scorer.columns.week].to_numpy(int), scorer.importance(matrix)
    )


def cohort_drift(scorer: RiskScorer, reference: Reference, now: Rows) -> pd.DataFrame:
    """How far rows are from the trained ones of the same weeks of term: `drift_table` of features and log-odds."""
    columns = _named(scorer, scorer.encoder.encode(now))
    learners = now.frame[scorer.columns.learner].nunique()
    return drift_table(reference, columns, now.frame[scorer.columns.week].to_numpy(int), learners=learners)


def _named(scorer: RiskScorer, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(scorer.encoder.names, matrix.T, strict=True)) | {SCORE: scorer.model.log_odds(matrix)}


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
    rows: Rows,
    values: pd.DataFrame,
    actionable: Sequence[str],
    *,
    explained: np.ndarray | None = None,
) -> float:
    """Mean Jaccard of the reasons that two scorers tell of the same learners; arguments as of `RiskScorer.reasons`."""
    import pandas as pd

    told = [
        scorer.reasons(rows, values, actionable, explained=explained).groupby("row")["reason"].agg(frozenset)
        for scorer in (first, second)
    ]
    pairs = pd.concat(told, axis=1).map(lambda reasons: reasons if isinstance(reasons, frozenset) else frozenset())
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs.itertuples(index=False)]))
