"""Rows of learners and weeks as the models take them: ranks taken among whole cohorts, then in one and the same order.

What is fitted must not depend on how a table's rows lie nor on the key that hides who a learner is. Rows are therefore
ordered, drawn and parted by a hash of what they hold. Rows that hold the same are exchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.risk.models import Feature, rank_within_cohort

if TYPE_CHECKING:
    import pandas as pd

PORTION = 2**64


@dataclass(frozen=True)
class Columns:
    """Names of the frame's columns that are no features.

    Attributes:
        offering: who is compared with whom: learners of one of these in the same week
        learner: who a row is about
        week: the week of term
        term: offerings that run at the same time
        season: what a term has in common with earlier ones, such as the month in which it starts
        course: what an offering has in common with earlier ones
        withdrawal_day: days from the first day to the withdrawal; empty where there was none
    """

    offering: str
    learner: str
    week: str = "week_number"
    term: str = "term"
    season: str = "start_month"
    course: str = "course_key"
    withdrawal_day: str = "withdrawal_day"

    @property
    def cohort(self) -> tuple[str, str]:
        """Columns that name who is compared with whom."""
        return (self.offering, self.week)


@dataclass(frozen=True)
class Rows:
    """Features and what else is known of learners in weeks.

    Attributes:
        matrix: float32 (rows, features): numbers, and ranks among the whole cohort; nan where missing and for words
        features: the matrix's columns
        frame: the other columns, words of category features among them, with the index 0, 1, 2 …
    """

    matrix: np.ndarray
    features: tuple[Feature, ...]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.matrix)

    def take(self, chosen: np.ndarray) -> Rows:
        """Rows by a mask or by positions."""
        frame = self.frame[chosen] if chosen.dtype == bool else self.frame.take(chosen)
        taken = Rows(self.matrix[chosen], self.features, frame.reset_index(drop=True))
        if "hashes" in self.__dict__:
            taken.__dict__["hashes"] = self.hashes[chosen]
        return taken

    @cached_property
    def hashes(self) -> np.ndarray:
        """uint64 (rows,) of the features alone."""
        import pandas as pd
        from pandas.core.util.hashing import hash_pandas_object

        words = [feature.column for feature in self.features if feature.kind == "category"]
        numbers = pd.DataFrame(self.matrix + np.float32(0))  # minus zero is zero
        text = self.frame[words].astype(object).where(self.frame[words].notna(), "")
        return hash_pandas_object(pd.concat([numbers, text], axis=1), index=False).to_numpy()

    def drawn(self, most: int) -> Rows:
        """At most about so many rows: those with the lowest hashes, so that a smaller draw is part of a larger one."""
        if len(self) <= most:
            return self
        return self.take(self.hashes < np.uint64(most / len(self) * PORTION))

    def drawn_by(self, column: str, most: int) -> Rows:
        """At most about so many rows, all that a learner has or none of them.

        Args:
            column: who a row is about.
        """
        if len(self) <= most:
            return self
        learner = self.learners(column)
        # Numbers of learners lie in the order of a hash.
        return self.take(learner < most / len(self) * (learner.max() + 1))

    def ordered(self, *columns: str) -> Rows:
        """By hash, rows that hold the same by these columns."""
        keys = [np.unique(self.frame[column].to_numpy(), return_inverse=True)[1] for column in reversed(columns)]
        return self.take(np.lexsort([*keys, self.hashes]))

    def learners(self, column: str, *others: str) -> np.ndarray:
        """A number for each learner, int (rows,), that does not depend on how they are called: by all their rows.

        Args:
            column: who a row is about.
            others: columns that count beside the features.
        """
        from pandas.core.util.hashing import hash_array

        told = self.hashes
        for name in others:
            told = told * np.uint64(3) + hash_array(self.frame[name].to_numpy())
        codes = np.unique(self.frame[column].to_numpy(), return_inverse=True)[1]
        sums = np.zeros(codes.max(initial=-1) + 1, np.uint64)
        np.add.at(sums, codes, told)
        place = np.empty(len(sums), int)
        place[np.argsort(sums, kind="stable")] = np.arange(len(sums))
        return place[codes]


def prepare(frame: pd.DataFrame, features: Sequence[Feature], cohort: Sequence[str]) -> Rows:
    """Rows of a frame that holds whole cohorts.

    Args:
        frame: one row per learner, offering and week.
        features: columns that the frame lacks are missing values.
        cohort: columns that name who is compared with whom, the week among them.

    Raises:
        ValueError: a cohort column is missing.
    """
    missing = [column for column in cohort if column not in frame]
    if missing:
        raise ValueError(f"The frame lacks the cohort's columns {', '.join(missing)}; it has {', '.join(frame)}")
    frame = frame.reset_index(drop=True)
    ranked = sorted(
        {name for x in features if x.kind in ("rank", "trend") for name in x.columns if name in frame.columns}
    )
    ranks = rank_within_cohort(frame, ranked, cohort) if ranked else {}
    matrix = np.full((len(frame), len(features)), np.nan, np.float32)
    for j, feature in enumerate(features):
        if feature.kind == "category" or not set(feature.columns) <= set(frame.columns):
            continue
        if feature.kind == "rank":
            matrix[:, j] = ranks[feature.column].to_numpy()
        elif feature.kind == "trend":
            matrix[:, j] = (ranks[feature.column] - ranks[feature.against]).to_numpy()
        else:
            matrix[:, j] = frame[feature.column].to_numpy(float, na_value=np.nan)
    return Rows(matrix, tuple(features), _with_words(frame, features))


def concatenated(parts: Sequence[Rows]) -> Rows:
    """Rows of several parts with the same features."""
    import pandas as pd

    matrix = np.concatenate([part.matrix for part in parts])
    return Rows(matrix, parts[0].features, pd.concat([part.frame for part in parts], ignore_index=True))


def _with_words(frame: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    lacking = {x.column: None for x in features if x.kind == "category" and x.column not in frame}
    return frame.assign(**lacking) if lacking else frame
