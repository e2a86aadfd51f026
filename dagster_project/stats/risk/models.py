"""Who is likely to fail or leave: models of an outcome from what was known at the end of a week of term.

One row is one enrolled learner and week; one model knows all weeks, with the week as a feature, so that a week borrows
from its neighbours. Learners are compared with their cohort (the same course and term, the same week): a model trained
on one term then means the same in the next, where tasks, deadlines and click counts differ.

References:
    [1] Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree, NeurIPS 30.
    [2] Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees, Nature
        Machine Intelligence 2, 56-67: the exact contributions that ``pred_contrib`` gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    import lightgbm as lgb
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier

    from dagster_project.stats.risk.rows import Rows

LEVEL_PRIOR_ROWS = 1000
SEED = 20240301


@dataclass(frozen=True)
class Feature:
    """One input of a model.

    Attributes:
        column: column of the frame
        reason: contribution group that it counts in
        kind: "number"; "rank", its rank within the cohort; "trend", its rank less that of ``against``; or "category",
            whose words become their order by the outcome in training
        direction: 1 where more can only mean more risk, -1 less risk, 0 either; trees keep to it, so that a reason
            never tells a learner that more work makes it worse
        against: column, of a trend only
    """

    column: str
    reason: str
    kind: str = "number"
    direction: int = 0
    against: str | None = None

    @property
    def name(self) -> str:
        """Name of the matrix's column."""
        if self.kind == "trend":
            return f"{self.column} rank less {self.against} rank"
        return f"{self.column} rank" if self.kind == "rank" else self.column

    @property
    def columns(self) -> list[str]:
        """Columns of the frame that it is computed of."""
        return [self.column] + ([self.against] if self.against else [])


def rank_within_cohort(frame: pd.DataFrame, columns: Sequence[str], cohort: Sequence[str]) -> pd.DataFrame:
    """Mid-ranks from 0 to 1 among the rows with equal ``cohort`` columns, missing values left out and left missing.

    The cohort must name the week: a rank among later rows would know the future.
    """
    groups = frame.groupby(list(cohort), sort=False, dropna=False)[list(columns)]
    return (groups.rank(method="average") - 0.5) / groups.transform("count")


@dataclass(frozen=True)
class Encoder:
    """Which features a model takes, and the numbers that stand for words, alike at training and at scoring.

    Attributes:
        features: the matrix's columns
        levels: the words of each category column, those of the lowest risk first; another word counts as missing
    """

    features: tuple[Feature, ...]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def fit(cls, rows: Rows, outcome: np.ndarray) -> Encoder:
        """Fix the order of the category levels; features that are missing or all alike are left out.

        Raises:
            ValueError: no feature is left.
        """
        import pandas as pd

        usable = tuple(x for j, x in enumerate(rows.features) if _varies(rows, j))
        if not usable:
            names = ", ".join(x.column for x in rows.features)
            raise ValueError(f"No feature varies in {len(rows)} rows: {names}")
        known = pd.Series(np.asarray(outcome, float), rows.frame.index)
        levels = {x.column: _ordered_levels(rows.frame[x.column], known) for x in usable if x.kind == "category"}
        return cls(usable, levels)

    @property
    def names(self) -> list[str]:
        """Names of the matrix's columns, in order."""
        return [feature.name for feature in self.features]

    def encode(self, rows: Rows) -> np.ndarray:
        """float32 (rows, features), missing values nan."""
        import pandas as pd

        at = {feature: j for j, feature in enumerate(rows.features)}
        matrix = rows.matrix[:, [at[feature] for feature in self.features]]
        for j, feature in enumerate(self.features):
            if feature.kind == "category":
                levels = self.levels[feature.column]
                place = pd.Series(np.arange(len(levels), dtype=float), index=list(levels))
                matrix[:, j] = rows.frame[feature.column].astype("object").map(str).map(place)
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, for `from_dict`."""
        return {
            "features": [vars(feature) for feature in self.features],
            "levels": {column: list(words) for column, words in self.levels.items()},
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Encoder:
        """The encoder that `to_dict` gave."""
        return cls(
            tuple(Feature(**feature) for feature in saved["features"]),
            {column: tuple(words) for column, words in saved["levels"].items()},
        )


def _varies(rows: Rows, position: int) -> bool:
    feature = rows.features[position]
    if feature.kind == "category":
        return rows.frame[feature.column].nunique(dropna=True) > 1
    column = rows.matrix[:, position]
    known = column[~np.isnan(column)]
    return len(known) > 0 and bool(known.min() < known.max())


class RiskModel(Protocol):
    """A fitted model. Only one with exact contributions and a text form can be champion."""

    kind: ClassVar[str]
    is_explainable: ClassVar[bool]

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Shape (rows,)."""

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Shape (rows, features + 1), the base last; each row adds up to its log-odds."""

    def to_text(self) -> str:
        """The model as text that `from_text` reads: nothing in it can run."""

    @classmethod
    def bind(cls, matrix: np.ndarray) -> Any:
        """What several models of the same rows are fitted from: made once."""

    @classmethod
    def fit(cls, bound: Any, chosen: np.ndarray, outcome: np.ndarray, features: Sequence[Feature]) -> RiskModel:
        """A model of the chosen rows (positions) and their outcomes (chosen,), 0 or 1; kinds have settings besides."""

    @classmethod
    def from_text(cls, text: str) -> RiskModel:
        """The model that `to_text` gave."""


@dataclass(frozen=True)
class BoostedTrees:
    """LightGBM [1]; contributions after [2]."""

    booster: lgb.Booster
    kind: ClassVar[str] = "lightgbm"
    is_explainable: ClassVar[bool] = True

    # Regularised until the next cohort, not the own one, was predicted best (2013B -> 2013J of OULAD). No bagging: it
    # draws by where a row stands.
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "objective": "binary",
        "learning_rate": 0.1,
        "num_leaves": 16,
        "min_data_in_leaf": 300,
        "lambda_l2": 10.0,
        "feature_fraction": 0.3,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    ROUNDS: ClassVar[int] = 100

    @classmethod
    def bind(cls, matrix: np.ndarray) -> lgb.Dataset:
        """The rows in bins."""
        import lightgbm as lgb

        # The bins must not depend on what is fitted from them.
        settings = {**cls.PARAMETERS, "feature_pre_filter": False}
        return lgb.Dataset(matrix, np.zeros(len(matrix)), params=settings, free_raw_data=True).construct()

    @classmethod
    def fit(
        cls,
        bound: lgb.Dataset,
        chosen: np.ndarray,
        outcome: np.ndarray,
        features: Sequence[Feature],
        *,
        seed: int = SEED,
        rounds: int = ROUNDS,
        parameters: Mapping[str, Any] | None = None,
    ) -> BoostedTrees:
        """Boosted trees that keep to the features' directions; the fewest rows of a leaf shrink with few learners."""
        import lightgbm as lgb

        settings = {**cls.PARAMETERS, **(parameters or {}), "seed": seed}
        # A leaf of 300 rows in a hundred thousand is noise kept out; in two thousand it is the whole model kept out.
        settings["min_data_in_leaf"] = int(np.clip(len(outcome) // 200, 10, settings["min_data_in_leaf"]))
        settings["monotone_constraints"] = _directions(features)
        settings["feature_pre_filter"] = False
        data = bound.subset(chosen.tolist(), params=settings).construct().set_label(np.asarray(outcome, float))
        return cls(lgb.train(settings, data, rounds))

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Sums of the trees' leaves, shape (rows,)."""
        return np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=1))

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Exact Shapley values [2] in log-odds, shape (rows, features + 1), the base last."""
        return np.asarray(self.booster.predict(matrix, pred_contrib=True, num_threads=1))

    def to_text(self) -> str:
        """LightGBM's own text form."""
        return self.booster.model_to_string()

    @classmethod
    def from_text(cls, text: str) -> BoostedTrees:
        """The model that `to_text` gave."""
        import lightgbm as lgb

        return cls(lgb.Booster(model_str=text))


@dataclass(frozen=True)
class LinearRisk:
    """Logistic regression on standardized columns, each with another one that says where it is missing."""

    mean: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    intercept: float
    kind: ClassVar[str] = "logistic"
    is_explainable: ClassVar[bool] = True
    PENALTY: ClassVar[float] = 0.1  # scikit-learn's C

    @classmethod
    def bind(cls, matrix: np.ndarray) -> np.ndarray:
        """Columns for a linear model."""
        return _widen(matrix)

    @classmethod
    def fit(
        cls,
        bound: np.ndarray,
        chosen: np.ndarray,
        outcome: np.ndarray,
        features: Sequence[Feature],
        *,
        seed: int = SEED,
    ) -> LinearRisk:
        """Logistic regression with an L2 penalty; a missing value counts as the mean, and is told by a column."""
        from sklearn.linear_model import LogisticRegression

        wide = bound[chosen]
        mean, scale = wide.mean(axis=0), wide.std(axis=0)
        scale[scale < 1e-12] = 1.0
        fitted = LogisticRegression(C=cls.PENALTY, solver="newton-cholesky", random_state=seed)
        fitted.fit((wide - mean) / scale, np.asarray(outcome, int))
        return cls(mean, scale, fitted.coef_[0], float(fitted.intercept_[0]))

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Linear predictor, shape (rows,)."""
        return self.contributions(matrix).sum(axis=1)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Slope times distance from the mean, shape (rows, features + 1), the intercept last."""
        parts = (_widen(matrix) - self.mean) / self.scale * self.slope
        found = np.empty((len(matrix), matrix.shape[1] + 1))
        found[:, :-1] = parts[:, ::2] + parts[:, 1::2]
        found[:, -1] = self.intercept
        return found

    def to_text(self) -> str:
        """Means, scales, slopes and intercept as JSON."""
        arrays = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "slope": self.slope.tolist()}
        return json.dumps({**arrays, "intercept": self.intercept})

    @classmethod
    def from_text(cls, text: str) -> LinearRisk:
        """The model that `to_text` gave."""
        saved = json.loads(text)
        return cls(*(np.array(saved[name]) for name in ("mean", "scale", "slope")), saved["intercept"])


@dataclass(frozen=True)
class HistogramTrees:
    """scikit-learn's boosting, a yardstick: it has neither exact contributions nor a safe file."""

    model: HistGradientBoostingClassifier
    filled: np.ndarray
    kind: ClassVar[str] = "hist_gradient_boosting"
    is_explainable: ClassVar[bool] = False

    @classmethod
    def bind(cls, matrix: np.ndarray) -> np.ndarray:
        """The rows as they are."""
        return matrix

    @classmethod
    def fit(
        cls,
        bound: np.ndarray,
        chosen: np.ndarray,
        outcome: np.ndarray,
        features: Sequence[Feature],
        *,
        seed: int = SEED,
    ) -> HistogramTrees:
        """Boosted trees of scikit-learn that keep to the features' directions."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        model = HistGradientBoostingClassifier(
            max_iter=100,
            learning_rate=0.1,
            max_leaf_nodes=16,
            min_samples_leaf=int(np.clip(len(outcome) // 200, 10, 300)),
            l2_regularization=10,
            early_stopping=False,
            monotonic_cst=_directions(features),
            random_state=seed,
        )
        matrix = bound[chosen]
        # It cannot bin a column without any value.
        filled = np.asarray(np.isnan(matrix).all(axis=0))
        with threadpool_limits(1, "openmp"):  # threads that wait for each other cost more than they bring
            return cls(model.fit(np.where(filled, 0.0, matrix), np.asarray(outcome, int)), filled)

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Sums of the trees' leaves, shape (rows,)."""
        return self.model.decision_function(np.where(self.filled, 0.0, matrix))

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Raises NotImplementedError: there are no exact ones."""
        raise NotImplementedError("scikit-learn's boosting has no exact contributions: it cannot become champion")

    def to_text(self) -> str:
        """Raises NotImplementedError: a file of it could run code."""
        raise NotImplementedError("scikit-learn's boosting has no safe file format: it cannot become champion")

    @classmethod
    def from_text(cls, text: str) -> HistogramTrees:
        """Raises NotImplementedError, as `to_text` does."""
        raise NotImplementedError("scikit-learn's boosting has no safe file format: no model of it can be read")


@dataclass(frozen=True)
class SevenDayRule:
    """No visit for seven days, or none at all: the floor that every model must beat."""

    position: int
    idle: float
    active: float
    kind: ClassVar[str] = "seven_day_rule"
    is_explainable: ClassVar[bool] = True
    COLUMN: ClassVar[str] = "since_last_activity_days"
    DAYS: ClassVar[int] = 7

    @classmethod
    def bind(cls, matrix: np.ndarray) -> np.ndarray:
        """The rows as they are."""
        return matrix

    @classmethod
    def fit(
        cls,
        bound: np.ndarray,
        chosen: np.ndarray,
        outcome: np.ndarray,
        features: Sequence[Feature],
        *,
        seed: int = SEED,
    ) -> SevenDayRule:
        """Raises ValueError where no feature counts the days since the last visit."""
        from scipy.special import logit

        position = next((j for j, x in enumerate(features) if x.column == cls.COLUMN and x.kind == "number"), None)
        if position is None:
            raise ValueError(f"The seven-day rule needs the feature {cls.COLUMN}")
        idle = cls._is_idle(bound[chosen, position])
        outcome = np.asarray(outcome, float)
        # Half a row of each kind keeps a group without an outcome finite.
        shares = [(outcome[part].sum() + 0.5) / (part.sum() + 1) for part in (idle, ~idle)]
        return cls(position, float(logit(shares[0])), float(logit(shares[1])))

    @classmethod
    def can_be_fitted(cls, rows: Rows) -> bool:
        """Whether the rows count the days since the last visit."""
        return any(
            x.column == cls.COLUMN and x.kind == "number" and _varies(rows, j) for j, x in enumerate(rows.features)
        )

    @classmethod
    def _is_idle(cls, days: np.ndarray) -> np.ndarray:
        return np.isnan(days) | (days > cls.DAYS)

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """One of two values a row, shape (rows,)."""
        return np.where(self._is_idle(matrix[:, self.position]), self.idle, self.active)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """All of it by the one feature, shape (rows, features + 1); the base is that of the active."""
        found = np.zeros((len(matrix), matrix.shape[1] + 1))
        found[:, -1] = self.active
        found[:, self.position] = self.log_odds(matrix) - self.active
        return found

    def to_text(self) -> str:
        """The feature's position and both values as JSON."""
        return json.dumps({"position": self.position, "idle": self.idle, "active": self.active})

    @classmethod
    def from_text(cls, text: str) -> SevenDayRule:
        """The model that `to_text` gave."""
        return cls(**json.loads(text))


MODELS = {model.kind: model for model in (BoostedTrees, LinearRisk, HistogramTrees, SevenDayRule)}


def _ordered_levels(column: pd.Series, outcome: pd.Series) -> tuple[str, ...]:
    """Words by the mean outcome, that of rare words drawn towards the mean of all."""
    words = column.dropna().astype(str)
    groups = outcome[words.index].groupby(words)
    mean = (groups.sum() + LEVEL_PRIOR_ROWS * outcome.mean()) / (groups.count() + LEVEL_PRIOR_ROWS)
    return tuple(mean.sort_index().sort_values(kind="stable").index)


def _directions(features: Sequence[Feature]) -> list[int]:
    """Category levels are ordered by risk: the model keeps to that order."""
    return [1 if feature.kind == "category" else feature.direction for feature in features]


def _widen(matrix: np.ndarray) -> np.ndarray:
    """Columns for a linear model, two for each: the number on a log scale (0 where missing), and whether it is."""
    missing = np.isnan(matrix)
    filled = np.where(missing, 0.0, matrix)
    wide = np.empty((len(matrix), 2 * matrix.shape[1]))
    wide[:, ::2] = np.sign(filled) * np.log1p(np.abs(filled))
    wide[:, 1::2] = missing
    return wide
