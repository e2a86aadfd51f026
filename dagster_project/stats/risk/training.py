"""From earlier cohorts to a scorer: out-of-cohort predictions, calibration, early outcomes, intervals, reasons.

Everything that is fitted on a model's predictions is fitted on predictions for offerings that the model has not seen
(nor any of their learners): what a next term will get. Offerings differ by more than sampling, so a score carries their
spread in its interval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dagster_project.stats.risk.calibration import Calibration, fit_calibration, fit_offset, read_calibration
from dagster_project.stats.risk.models import MODELS, SEED, BoostedTrees, Encoder, Feature, RiskModel
from dagster_project.stats.risk.venn_abers import VennAbers, fit_venn_abers

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
LATE, LATE_STEP = 12, 4  # after this week every fourth one trains: the weeks in which help comes in time weigh more
OFFSET_WEEKS = (4, 8, 12)  # weeks whose cohort offsets stand for all
SLOPE_PRIOR_SD = 0.25  # of a cohort's offset on its early leavers: how far they are trusted before cohorts show it
SEASON_PRIOR_OFFERINGS = 3  # offerings of a season that weigh as much as "seasons are alike"
FEWEST_FOR_INTERVAL = 200
FEWEST_EXPECTED = 10  # of each outcome, for an offering to tell how it differs
MOST_SHARED = 0.5  # of the rows of other offerings: those of learners who are in a held one too
WIDENING = 1.645  # sds of cohorts to either side: nine cohorts of ten


@dataclass(frozen=True)
class Columns:
    """Names of the frame's columns that are no features.

    The frame has one row per enrolled learner, offering and week, and holds whole cohorts. ``left_share``: share of
    those registered in the offering who had left by that week. ``season``: what a term's cohort has in common with
    earlier ones, such as the month in which it starts.
    """

    offering: str
    learner: str
    week: str = "week_number"
    left_share: str = "left_share"
    season: str = "start_month"

    @property
    def cohort(self) -> tuple[str, str]:
        """Columns that name who is compared with whom: the offering and the week."""
        return (self.offering, self.week)


@dataclass(frozen=True)
class EarlyOutcomes:
    """A cohort's shift on the logit, from how many have left so far and from how earlier cohorts of its season ended.

    Early outcomes are selected: those who left are known long before those who fail, so rows that have matured would
    mislead. How many of all left by the same week, against earlier cohorts, is not selected. Both parts are shrunk
    to zero: ``slope`` by a prior, ``season`` by the number of its offerings.
    """

    expected: Mapping[int, float]  # week -> mean log-odds of having left
    slope: float
    season: Mapping[str, float]
    cohort_sd: float  # of offerings, on the logit, left after the shift

    def shift(self, week, left_share, season) -> np.ndarray:
        """Shape (rows,)."""
        import pandas as pd

        weeks = np.array(sorted(self.expected))
        expected = np.interp(np.asarray(week, float), weeks, [self.expected[w] for w in weeks])
        by_season = pd.Series(np.asarray(season)).astype(str).map(dict(self.season)).fillna(0.0).to_numpy()
        return self.slope * (_left_log_odds(left_share) - expected) + by_season

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, for `from_dict`."""
        expected = {str(week): value for week, value in self.expected.items()}
        return {"expected": expected, "slope": self.slope, "season": dict(self.season), "cohort_sd": self.cohort_sd}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> EarlyOutcomes:
        """The shifts that `to_dict` gave."""
        expected = {int(week): value for week, value in saved["expected"].items()}
        return cls(expected, saved["slope"], saved["season"], saved["cohort_sd"])


@dataclass(frozen=True)
class RiskScorer:
    """A fitted model with all that turns its log-odds into probabilities, intervals and reasons."""

    outcome: str
    columns: Columns
    encoder: Encoder
    model: RiskModel
    calibration: Calibration
    early: EarlyOutcomes
    intervals: Mapping[int, VennAbers]

    @property
    def version(self) -> str:
        """Hash of everything that a score depends on."""
        text = json.dumps(self.to_dict(), sort_keys=True) + self.model.to_text()
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def score(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Scores of whole cohorts, index as the frame's: log_odds (the model's own), probability, low, high."""
        return self._finish(frame, self.log_odds(frame))

    def log_odds(self, frame: pd.DataFrame) -> np.ndarray:
        """The model's own log-odds of whole cohorts, shape (rows,)."""
        return self.model.log_odds(self.encoder.encode(frame))

    def _finish(self, frame: pd.DataFrame, log_odds: np.ndarray) -> pd.DataFrame:
        import pandas as pd
        from scipy.special import expit, logit

        columns = self.columns
        shift = self.early.shift(frame[columns.week], frame[columns.left_share], frame[columns.season])
        calibrated = logit(self.calibration.probability(log_odds)) + shift
        low, high = np.zeros(len(frame)), np.ones(len(frame))
        week = frame[columns.week].to_numpy()
        for value in np.unique(week) if self.intervals else []:
            rows = week == value
            nearest = min(self.intervals, key=lambda known, value=value: (abs(known - value), known))
            low[rows], high[rows] = self.intervals[nearest].interval(calibrated[rows])
        margin = WIDENING * self.early.cohort_sd
        with np.errstate(divide="ignore"):
            low, high = expit(logit(low) - margin), expit(logit(high) + margin)
        probability = expit(calibrated)
        # The curve and the week's own intervals are fitted apart: a score never lies outside its interval.
        low, high = np.minimum(low, probability), np.maximum(high, probability)
        return pd.DataFrame(
            {"log_odds": log_odds, "probability": probability, "low": low, "high": high}, index=frame.index
        )

    def reasons(
        self, frame: pd.DataFrame, actionable: Sequence[str], *, rows: np.ndarray | None = None, most: int = 3
    ) -> pd.DataFrame:
        """What raises each learner's risk most and can be acted on.

        Contributions are summed within their groups; of the actionable groups that raise the risk the largest ones
        are told, by the feature of the group that raises it most.

        Args:
            frame: whole cohorts.
            actionable: contribution groups that may be told
            rows (array of bool, shape (rows of the frame,), optional): whom to explain; all if not given. Contributions
                cost a hundred times the score.

        Returns:
            DataFrame: row (position in the frame), place (1 is first), reason, contribution (log-odds), column, value
            and peers_median (of the cohort, the learner included; nan for words).
        """
        import pandas as pd

        explained = np.flatnonzero(np.ones(len(frame), bool) if rows is None else rows)
        features = self.encoder.features
        groups = sorted(set(actionable).intersection(x.reason for x in features))
        if not groups or not len(explained):
            names = ["row", "place", "reason", "contribution", "column", "value", "peers_median"]
            return pd.DataFrame(columns=names)
        contributions = self.model.contributions(self.encoder.encode(frame)[explained])[:, :-1]
        members = {group: np.array([j for j, x in enumerate(features) if x.reason == group]) for group in groups}
        sums = np.column_stack([contributions[:, members[group]].sum(axis=1) for group in groups])
        order = np.argsort(-sums, axis=1, kind="stable")[:, :most]
        told = {group: [features[j].column for j in members[group]] for group in groups}
        numbers = sorted({name for names in told.values() for name in names if frame[name].dtype.kind in "fiub"})
        medians = frame.groupby(list(self.encoder.cohort), sort=False)[numbers].transform("median")
        found = []
        for place in range(order.shape[1]):
            chosen = order[:, place]
            for number, group in enumerate(groups):
                with_reason = np.flatnonzero((chosen == number) & (sums[:, number] > 0))
                strongest = np.argmax(contributions[np.ix_(with_reason, members[group])], axis=1)
                for which, name in enumerate(told[group]):
                    part = with_reason[strongest == which]
                    row = explained[part]
                    found.append(
                        pd.DataFrame(
                            {
                                "row": row,
                                "place": place + 1,
                                "reason": group,
                                "contribution": sums[part, number],
                                "column": name,
                                "value": frame[name].to_numpy()[row] if name in numbers else np.nan,
                                "peers_median": medians[name].to_numpy()[row] if name in numbers else np.nan,
                            }
                        )
                    )
        return pd.concat(found).sort_values(["row", "place"], ignore_index=True)

    def importance(self, encoded: np.ndarray, *, most_rows: int = 2000) -> dict[str, float]:
        """Share of each column in what moves the scores of encoded cohorts: its mean absolute contribution.

        Of `most_rows` rows at even distances, as contributions cost a hundred times the score.

        Args:
            encoded (array of float, shape (rows, features)): whole cohorts, by the scorer's encoder.
        """
        import pandas as pd

        step = max(1, -(-len(encoded) // most_rows))
        weights = np.abs(self.model.contributions(encoded[::step])[:, :-1]).mean(axis=0)
        shares = weights / max(weights.sum(), 1e-12)
        return pd.Series(shares).groupby([feature.column for feature in self.encoder.features]).sum().to_dict()

    def to_dict(self) -> dict[str, Any]:
        """All but the model itself, as JSON has it."""
        return {
            "outcome": self.outcome,
            "columns": vars(self.columns),
            "encoder": self.encoder.to_dict(),
            "model": self.model.kind,
            "calibration": self.calibration.to_dict(),
            "early": self.early.to_dict(),
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
            read_calibration(saved["calibration"]),
            EarlyOutcomes.from_dict(saved["early"]),
            {int(week): VennAbers.from_dict(steps) for week, steps in saved["intervals"].items()},
        )


def fit_scorer(
    frame: pd.DataFrame,
    outcome: str,
    features: Sequence[Feature],
    columns: Columns,
    *,
    kind: str = BoostedTrees.kind,
    seed: int = SEED,
    folds: int = FOLDS,
    settings: Mapping[str, Any] | None = None,
) -> RiskScorer:
    """Fit a model and everything after it on matured cohorts.

    Args:
        frame: rows of learners still enrolled, whose ``outcome`` (0/1) has matured; all earlier than what will be
            scored.
        outcome: column of the outcome.
        kind: a name in ``models.MODELS``
        folds: parts of the cohorts that are predicted by models of the others; fewer cost less.
        settings: arguments of the model's ``fit``
    """
    from scipy.special import logit

    week = frame[columns.week]
    frame = frame[(week <= LATE) | (week % LATE_STEP == 0)]
    y = frame[outcome].to_numpy(float)
    encoder = Encoder.fit(frame, y, features, columns.cohort)
    matrix = encoder.encode(frame)

    def fit(rows: np.ndarray) -> RiskModel:
        return MODELS[kind].fit(matrix[rows], y[rows], encoder.features, seed=seed, **(settings or {}))

    unseen = _out_of_cohort(frame, matrix, columns, folds, fit)
    calibration = fit_calibration(unseen, y)
    calibrated = logit(calibration.probability(unseen))
    early = _fit_early(frame, calibrated, y, columns)
    calibrated = calibrated + early.shift(frame[columns.week], frame[columns.left_share], frame[columns.season])
    intervals = {
        int(week): fit_venn_abers(calibrated[rows], y[rows])
        for week, rows in frame.groupby(columns.week).indices.items()
        if len(rows) >= FEWEST_FOR_INTERVAL
    }
    return RiskScorer(outcome, columns, encoder, fit(np.arange(len(frame))), calibration, early, intervals)


def _out_of_cohort(frame: pd.DataFrame, matrix: np.ndarray, columns: Columns, folds: int, fit) -> np.ndarray:
    """Log-odds of each row from a model that saw neither its offering nor its learner.

    Of a single offering, and where most learners take several, from a model that did not see the learner: without the
    learners of the offerings held out only those with one course would be left, and they are of another kind.
    """
    learner = np.unique(frame[columns.learner].to_numpy(), return_inverse=True)[1]
    offering = np.unique(frame[columns.offering].to_numpy(), return_inverse=True)[1]
    # Large offerings first, each into the smallest fold: alike in size, and the same every time.
    size = np.bincount(offering)
    fold_of, filled = np.zeros(len(size), int), np.zeros(min(folds, len(size)))
    for group in np.argsort(-size, kind="stable"):
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += size[group]
    fold = fold_of[offering]
    shared = [np.isin(learner[fold != value], learner[fold == value]).mean() for value in np.unique(fold)]
    if len(size) == 1 or max(shared) > MOST_SHARED:
        fold = learner % folds
    found = np.empty(len(frame))
    for value in np.unique(fold):
        held = fold == value
        known = np.flatnonzero(~held & ~np.isin(learner, learner[held]))
        found[held] = fit(known).log_odds(matrix[held])
    return found


def _fit_early(frame: pd.DataFrame, calibrated: np.ndarray, y: np.ndarray, columns: Columns) -> EarlyOutcomes:
    import pandas as pd
    from scipy.special import expit

    cohorts = frame.groupby(list(columns.cohort), sort=True)
    first = cohorts[[columns.left_share, columns.season]].first().reset_index()
    first["left"] = _left_log_odds(first[columns.left_share])
    expected = first.groupby(columns.week)["left"].mean()
    known = np.unique(frame[columns.week])
    at = {int(known[np.argmin(np.abs(known - w))]) for w in OFFSET_WEEKS}
    rows = []
    for key, positions in cohorts.indices.items():
        offering, w = cast("tuple[Any, Any]", key)
        # Small offerings are told by what was expected of them: told by what came, those without any would be left out
        # and the others look worse than they are.
        likely = expit(calibrated[positions]).sum()
        is_large = min(likely, len(positions) - likely) >= FEWEST_EXPECTED
        if int(w) in at and is_large and 0 < y[positions].sum() < len(positions):
            rows.append((offering, w, *fit_offset(calibrated[positions], y[positions])))
    offsets = pd.DataFrame(rows, columns=[columns.offering, columns.week, "offset", "error"]).merge(first)
    offsets["surplus"] = offsets["left"] - offsets[columns.week].map(expected)
    means = offsets.groupby(columns.offering).agg(
        offset=("offset", "mean"),
        error=("error", "mean"),
        surplus=("surplus", "mean"),
        season=(columns.season, "first"),
    )
    if len(means) < 2:
        return EarlyOutcomes(_weeks(expected), 0.0, {}, SLOPE_PRIOR_SD)
    spread = max(float(means["offset"].var() - (means["error"] ** 2).mean()), 1e-4)
    weight = 1 / (means["error"] ** 2 + spread)
    centred = means["offset"] - np.average(means["offset"], weights=weight)
    surplus = means["surplus"] - np.average(means["surplus"], weights=weight)
    slope = float((weight * surplus * centred).sum() / ((weight * surplus**2).sum() + SLOPE_PRIOR_SD**-2))
    left = means["offset"] - slope * means["surplus"]
    by_season = left.groupby(means["season"].astype(str)).agg(["mean", "count"])
    season = by_season["mean"] * by_season["count"] / (by_season["count"] + SEASON_PRIOR_OFFERINGS)
    if len(season) < 2:
        season = season * 0.0  # a season that is all there is cannot differ from the others
    left = left - means["season"].astype(str).map(season)
    variance = float((left**2).sum() / (len(left) - 1) - (means["error"] ** 2).mean())
    return EarlyOutcomes(_weeks(expected), slope, season.to_dict(), float(np.sqrt(max(variance, 0.0))))


def _weeks(expected: pd.Series) -> dict[int, float]:
    return dict(zip(map(int, expected.index), map(float, expected), strict=True))


def _left_log_odds(share) -> np.ndarray:
    from scipy.special import logit

    return logit(np.clip(np.asarray(share, float), 0.002, 0.998))
