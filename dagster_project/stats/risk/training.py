"""From earlier cohorts to a scorer: out-of-cohort predictions, calibration, level of the term, intervals, reasons.

Everything that is fitted on a model's predictions is fitted on predictions for offerings that the model has not seen
(nor any of their learners): what a next term will get. Offerings differ by more than sampling, so a score carries their
spread in its interval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.calibration import Platt, fit_platt
from dagster_project.stats.risk.level import NO_LEVEL, Level, fit_level, has_left
from dagster_project.stats.risk.models import MODELS, SEED, BoostedTrees, Encoder, RiskModel
from dagster_project.stats.risk.rows import Columns, Rows, concatenated
from dagster_project.stats.risk.venn_abers import VennAbers, fit_venn_abers

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 3
LATE, LATE_STEP = 12, 4  # after this week every fourth one trains: the weeks in which help comes in time weigh more
MOST_ROWS = 100_000  # of a fit, of all learners: a learner's weeks tell much the same
SCORE_DECIMALS = 2  # of the log-odds by which intervals are fitted: finer steps are slower and tell no more
LEAVING_ROUNDS = 50
FEWEST_LEAVERS = 50
FEWEST_FOR_INTERVAL = 200
MOST_SHARED = 0.5  # of the rows of other offerings: those of learners who are in a held one too
WIDENING = 1.645  # sds of cohorts to either side: nine cohorts of ten
SUREST = 0.99  # beyond this no probability is shown: no number of earlier learners shows more


def is_trained(week) -> Any:
    """Whether rows of a week train; of a number, an array or a column."""
    return (week <= LATE) | (week % LATE_STEP == 0)


@dataclass(frozen=True)
class RiskScorer:
    """A fitted model with all that turns its log-odds into probabilities, intervals and reasons.

    Attributes:
        leaving: model of who leaves within four weeks, by which the running term's level is found; None: not told
    """

    outcome: str
    columns: Columns
    encoder: Encoder
    model: RiskModel
    leaving: BoostedTrees | None
    calibration: Platt
    level: Level
    intervals: Mapping[int, VennAbers]

    @property
    def version(self) -> str:
        """Hash of everything that a score depends on."""
        text = json.dumps(self.to_dict(), sort_keys=True) + self.model.to_text()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def score(self, rows: Rows, earlier: Sequence[Rows] = ()) -> pd.DataFrame:
        """Scores, index as the frame's: log_odds (the model's own), probability, low, high.

        The level of a term is told by all rows of its earlier weeks, among the rows or in `earlier`, which are not
        scored.
        """
        matrix = self.encoder.encode(rows)
        log_odds = self.model.log_odds(matrix)
        if self.leaving is None:
            return self._finish(rows.frame, rows.frame, log_odds, None)
        leaving = [self.leaving.log_odds(matrix)]
        leaving += [self.leaving.log_odds(self.encoder.encode(part)) for part in earlier]
        everything = concatenated([rows, *earlier]).frame if earlier else rows.frame
        return self._finish(rows.frame, everything, log_odds, np.concatenate(leaving))

    def log_odds(self, rows: Rows) -> np.ndarray:
        """The model's own log-odds, shape (rows,)."""
        return self.model.log_odds(self.encoder.encode(rows))

    def _finish(
        self, frame: pd.DataFrame, everything: pd.DataFrame, log_odds: np.ndarray, leaving: np.ndarray | None
    ) -> pd.DataFrame:
        import pandas as pd
        from scipy.special import expit

        shift, sd = self.level.of(everything, leaving, self.columns, len(frame))
        calibrated = self.calibration.log_odds(log_odds) + shift
        low, high = _interval(self.intervals, frame[self.columns.week].to_numpy(), calibrated, sd)
        found = {"probability": np.minimum(expit(calibrated), SUREST), "low": low, "high": high}
        return pd.DataFrame({"log_odds": log_odds, **found}, index=frame.index)

    def reasons(
        self,
        rows: Rows,
        values: pd.DataFrame,
        actionable: Sequence[str],
        *,
        explained: np.ndarray | None = None,
        most: int = 3,
    ) -> pd.DataFrame:
        """What raises each learner's risk most and can be acted on.

        Contributions are summed within their groups; of the actionable groups that raise the risk the largest ones
        are told, by the feature of the group that raises it most and in which the learner is not as the median of
        their peers: that they are alike would be no reason to anybody.

        Args:
            values: the frame that the rows were prepared from: whole cohorts, in the same order
            actionable: contribution groups that may be told
            explained (array of bool, shape (rows,), optional): whom to explain; all if not given. Contributions cost a
                hundred times the score.

        Returns:
            DataFrame: row (position), place (1 is first), reason, contribution (log-odds), column, value
            and peers_median (of the cohort, the learner included; nan for words).
        """
        import pandas as pd

        values = values.reset_index(drop=True)
        chosen_rows = np.flatnonzero(np.ones(len(rows), bool) if explained is None else explained)
        features = self.encoder.features
        groups = sorted(set(actionable).intersection(x.reason for x in features))
        if not groups or not len(chosen_rows):
            names = ["row", "place", "reason", "contribution", "column", "value", "peers_median"]
            return pd.DataFrame(columns=names)
        contributions = self.model.contributions(self.encoder.encode(rows.take(chosen_rows)))[:, :-1]
        members = {group: np.array([j for j, x in enumerate(features) if x.reason == group]) for group in groups}
        told = {group: [features[j].column for j in members[group]] for group in groups}
        numbers = sorted({name for names in told.values() for name in names if values[name].dtype.kind in "fiub"})
        medians = values.groupby(list(self.columns.cohort), sort=False)[numbers].transform("median")
        is_alike = np.zeros(contributions.shape, bool)
        for j, feature in enumerate(features):
            if feature.column in numbers:
                own, peers = (x[feature.column].to_numpy(float)[chosen_rows] for x in (values, medians))
                is_alike[:, j] = own == peers
        tellable = np.where(is_alike, -np.inf, contributions)
        sums = np.column_stack(
            [
                np.where(
                    tellable[:, members[group]].max(axis=1) > 0, contributions[:, members[group]].sum(axis=1), -np.inf
                )
                for group in groups
            ]
        )
        order = np.argsort(-sums, axis=1, kind="stable")[:, :most]
        found = []
        for place in range(order.shape[1]):
            chosen = order[:, place]
            for number, group in enumerate(groups):
                with_reason = np.flatnonzero((chosen == number) & (sums[:, number] > 0))
                strongest = np.argmax(tellable[np.ix_(with_reason, members[group])], axis=1)
                for which, name in enumerate(told[group]):
                    part = with_reason[strongest == which]
                    row = chosen_rows[part]
                    found.append(
                        pd.DataFrame(
                            {
                                "row": row,
                                "place": place + 1,
                                "reason": group,
                                "contribution": sums[part, number],
                                "column": name,
                                "value": values[name].to_numpy()[row] if name in numbers else np.nan,
                                "peers_median": medians[name].to_numpy()[row] if name in numbers else np.nan,
                            }
                        )
                    )
        return pd.concat(found).sort_values(["row", "place"], ignore_index=True)

    def importance(self, encoded: np.ndarray, *, most_rows: int = 1000) -> dict[str, float]:
        """Share of each feature, by name, in what moves the scores of encoded rows: its mean absolute contribution.

        Of `most_rows` rows at even distances, as contributions cost a hundred times the score.

        Args:
            encoded (array of float, shape (rows, features)): rows, by the scorer's encoder.
        """
        step = max(1, -(-len(encoded) // most_rows))
        weights = np.abs(self.model.contributions(encoded[::step])[:, :-1]).mean(axis=0)
        return dict(zip(self.encoder.names, weights / max(weights.sum(), 1e-12), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """All but the model itself, as JSON has it."""
        return {
            "outcome": self.outcome,
            "columns": vars(self.columns),
            "encoder": self.encoder.to_dict(),
            "model": self.model.kind,
            "leaving": None if self.leaving is None else self.leaving.to_text(),
            "calibration": self.calibration.to_dict(),
            "level": self.level.to_dict(),
            "intervals": {str(week): steps.to_dict() for week, steps in self.intervals.items()},
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model_text: str) -> RiskScorer:
        """The scorer that `to_dict` gave, with the text of its model."""
        return cls(
            saved["outcome"],
            Columns(**saved["columns"]),
            Encoder.from_dict(saved["encoder"]),
            MODELS[saved["model"]].from_text(model_text),
            None if saved["leaving"] is None else BoostedTrees.from_text(saved["leaving"]),
            Platt(**saved["calibration"]),
            Level(**saved["level"]),
            {int(week): VennAbers.from_dict(steps) for week, steps in saved["intervals"].items()},
        )


@dataclass(frozen=True)
class TrainingRows:
    """What every kind of model is fitted from: drawn, in one order, encoded, and parted into folds.

    Attributes:
        frame: columns of the rows that are no features
        matrix: float32 (rows, features)
        y: outcomes, shape (rows,)
        fold: part of each row, shape (rows,); a row is predicted by a model that saw neither its part nor its learner
        learner: number of each row's learner, shape (rows,)
        leaving: model of who leaves within four weeks; None: too few have left
    """

    outcome: str
    columns: Columns
    seed: int
    frame: pd.DataFrame
    encoder: Encoder
    matrix: np.ndarray
    y: np.ndarray
    fold: np.ndarray
    learner: np.ndarray
    leaving: BoostedTrees | None


def draw_training_rows(
    rows: Rows, outcome: str, columns: Columns, *, seed: int = SEED, folds: int = FOLDS
) -> TrainingRows:
    """The same whatever the order of rows and the keys of learners.

    Args:
        rows: learners still enrolled, whose ``outcome`` (0/1) has matured; all earlier than what will be scored. Of
            more than `MOST_ROWS` in the weeks that train a part is drawn, always the same.
        outcome: column of the outcome.
        folds: parts of the cohorts that are predicted by models of the others; fewer cost less.
    """
    rows = rows.take(is_trained(rows.frame[columns.week]).to_numpy())
    rows = rows.drawn(MOST_ROWS).ordered(columns.offering, columns.week, outcome, columns.withdrawal_day)
    y = rows.frame[outcome].to_numpy(float)
    encoder = Encoder.fit(rows, y)
    matrix = encoder.encode(rows)
    learner = rows.learners(columns.learner, outcome)
    fold = _folds(rows.frame[columns.offering].to_numpy(), learner, folds)
    leaving = _fit_leaving(rows.frame, matrix, encoder, columns, seed)
    return TrainingRows(outcome, columns, seed, rows.frame, encoder, matrix, y, fold, learner, leaving)


def fit_scorer(
    training: TrainingRows, kind: str = BoostedTrees.kind, settings: Mapping[str, Any] | None = None
) -> RiskScorer:
    """Fit a model and everything after it on matured cohorts.

    Args:
        kind: a name in ``models.MODELS``. One that cannot explain itself never scores: it is a yardstick of ranking,
            and its probabilities stay its own.
        settings: arguments of the model's ``fit``
    """
    model: Any = MODELS[kind]
    columns, frame, y = training.columns, training.frame, training.y
    bound = model.bind(training.matrix)

    def fit(chosen: np.ndarray) -> RiskModel:
        return model.fit(bound, chosen, y[chosen], training.encoder.features, seed=training.seed, **(settings or {}))

    final = fit(np.arange(len(y)))
    known = (training.outcome, columns, training.encoder, final, training.leaving)
    if not model.is_explainable:
        return RiskScorer(*known, Platt(1.0, 0.0), NO_LEVEL, {})
    unseen = np.empty(len(y))
    for value in np.unique(training.fold):
        held = training.fold == value
        chosen = np.flatnonzero(~held & ~np.isin(training.learner, training.learner[held]))
        unseen[held] = fit(chosen).log_odds(training.matrix[held])
    calibration = fit_platt(unseen, y)
    calibrated = calibration.log_odds(unseen)
    level = fit_level(frame, calibrated, y, columns)
    calibrated = calibrated + level.of(frame, None, columns)[0]
    week, rounded = frame[columns.week].to_numpy(), np.round(calibrated, SCORE_DECIMALS)
    intervals = {
        int(value): fit_venn_abers(rounded[week == value], y[week == value])
        for value, count in zip(*np.unique(week, return_counts=True), strict=True)
        if count >= FEWEST_FOR_INTERVAL
    }
    return RiskScorer(*known, calibration, level, intervals)


def _folds(offerings: np.ndarray, learner: np.ndarray, folds: int) -> np.ndarray:
    """By offering, large ones first and each into the smallest part: alike in size, and the same every time.

    Of a single offering, and where most learners take several, by learner: without the learners of the offerings held
    out only those with one course would be left, and they are of another kind.
    """
    offering = np.unique(offerings, return_inverse=True)[1]
    size = np.bincount(offering)
    fold_of, filled = np.zeros(len(size), int), np.zeros(min(folds, len(size)))
    for group in np.argsort(-size, kind="stable"):
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += size[group]
    fold = fold_of[offering]
    shared = [np.isin(learner[fold != value], learner[fold == value]).mean() for value in np.unique(fold)]
    return learner % folds if len(size) == 1 or max(shared) > MOST_SHARED else fold


def _fit_leaving(
    frame: pd.DataFrame, matrix: np.ndarray, encoder: Encoder, columns: Columns, seed: int
) -> BoostedTrees | None:
    left = has_left(frame, columns)
    if min(left.sum(), (1 - left).sum()) < FEWEST_LEAVERS:
        return None
    everybody = np.arange(len(frame))
    bound = BoostedTrees.bind(matrix)
    return BoostedTrees.fit(bound, everybody, left, encoder.features, seed=seed, rounds=LEAVING_ROUNDS)


def _interval(
    intervals: Mapping[int, VennAbers], week: np.ndarray, calibrated: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of each row's interval: that of the nearest week, widened by the spread between cohorts."""
    from scipy.special import expit, logit

    low, high = np.zeros(len(week)), np.ones(len(week))
    for value in np.unique(week) if intervals else []:
        rows = week == value
        nearest = min(intervals, key=lambda known, value=value: (abs(known - value), known))
        low[rows], high[rows] = intervals[nearest].interval(calibrated[rows])
    with np.errstate(divide="ignore"):
        low, high = expit(logit(low) - WIDENING * sd), expit(logit(high) + WIDENING * sd)
    # The curve and the week's own intervals are fitted apart: a score never lies outside its interval.
    probability = expit(calibrated)
    return np.minimum(low, probability), np.maximum(high, probability)
