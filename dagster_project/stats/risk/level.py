"""The level of a running term: cohorts differ by more than who is in them, and nothing in a learner's own row tells it.

How many have left so far is known long before who fails. The learners of the running term are therefore compared, four
weeks after each week, with how many of them were expected to leave; all such windows that have closed count together,
but for those that begin in the first fortnight, when plans change. By how much the log-odds of leaving were too low, by
so much are those of failing, too [1]. A term's level is partly known from week 6 on; an offering's own deviation from
it is shrunk more, because who leaves early in one course tells little of who fails there. Before the first window has
closed, a term is taken for one like those of its season, and an offering for one like those of its course.

References:
    [1] Putter, Fiocco and Geskus (2007), Tutorial in biostatistics: competing risks and multi-state models, Statistics
        in Medicine 26, 2389-2430: ends that compete; a level moves all bad ones alike. van Houwelingen (2007), Dynamic
        prediction by landmarking in event history analysis, Scandinavian Journal of Statistics 34, 70-85: the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dagster_project.stats.risk.calibration import fit_offset

if TYPE_CHECKING:
    import pandas as pd

    from dagster_project.stats.risk.rows import Columns

WINDOW_WEEKS = 4
FIRST_WINDOW = 2  # in a course's first fortnight people change their plans, by rules in which cohorts differ
# Standard deviations on the logit, chosen on 2013B -> 2013J of OULAD: of terms, of windows of a term, of offerings.
TERM_LEAVING_SD, WINDOW_SD, OFFERING_LEAVING_SD = 0.35, 0.3, 0.1
TERM_SD, TERMS_OF_PRIOR = 0.35, 2  # of terms where no or few earlier ones tell it, and how many terms that weighs
OFFERING_SD, OFFERINGS_OF_PRIOR = 0.25, 4
FAILING_SD = 0.15  # of what leaving does not tell of failing
OFFSET_WEEKS = (4, 8, 12)  # weeks whose cohort offsets stand for all
FEWEST_EXPECTED = 10  # of each outcome, for an offering to tell how it differs
STEPS = 12
MOST_SDS = 4  # where nobody left, the estimate has no end


@dataclass(frozen=True)
class Level:
    """What earlier cohorts tell of the next one's level.

    Attributes:
        season: by season, mean offset of its terms on the logit, shrunk
        course: by course, mean offset of its offerings beyond their term's, shrunk
        term_sd, offering_sd: of terms and of offerings within a term, before the running term has told anything
    """

    season: Mapping[str, float]
    course: Mapping[str, float]
    term_sd: float
    offering_sd: float

    def of(
        self, frame: pd.DataFrame, leaving: np.ndarray | None, columns: Columns, asked: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shift of each row on the logit and the standard deviation that is left, shape (asked,) each.

        Args:
            frame: whole terms so far: rows of earlier weeks of the learners who have left since, too.
            leaving: log-odds of leaving within four weeks, as expected, of each row; None: leaving is not told.
            asked: how many rows, the first ones, are asked for; all if not given
        """
        everything, frame = frame, frame.iloc[:asked]
        season = frame[columns.season].astype(str).map(dict(self.season)).fillna(0.0).to_numpy(float)
        course = frame[columns.course].astype(str).map(dict(self.course)).fillna(0.0).to_numpy(float)
        term_weight = np.zeros(len(frame))
        shift = season + course
        if leaving is not None:
            found = self._running(everything, leaving, columns, len(frame))
            term_weight = found["weight"]
            shift = term_weight * found["term"] + (1 - term_weight) * season + course + found["offering"]
        variance = (1 - term_weight) * self.term_sd**2 + term_weight * FAILING_SD**2 + self.offering_sd**2
        return shift, np.sqrt(variance)

    def _running(self, frame: pd.DataFrame, leaving: np.ndarray, columns: Columns, asked: int) -> dict[str, np.ndarray]:
        week = frame[columns.week].to_numpy(int)
        left = has_left(frame, columns)
        term = np.unique(frame[columns.term].to_numpy(), return_inverse=True)[1]
        offering = np.unique(frame[columns.offering].to_numpy(), return_inverse=True)[1]
        found = {name: np.zeros(asked) for name in ("weight", "term", "offering")}
        for value in np.unique(week[:asked]):
            closed = (week >= FIRST_WINDOW) & (week <= value - WINDOW_WEEKS)
            if not closed.any():
                continue
            now = np.flatnonzero(week[:asked] == value)
            # Weeks of a term share a mood of their own; windows that overlap are not independent.
            windows = (value - WINDOW_WEEKS - FIRST_WINDOW) / WINDOW_WEEKS + 1
            of_term, variance = _surplus(leaving[closed], left[closed], term[closed], term.max() + 1)
            weight = TERM_LEAVING_SD**2 / (TERM_LEAVING_SD**2 + WINDOW_SD**2 / windows + variance)
            of_term = np.clip(of_term, -MOST_SDS * TERM_LEAVING_SD, MOST_SDS * TERM_LEAVING_SD)
            own, variance = _surplus(
                leaving[closed] + of_term[term[closed]], left[closed], offering[closed], offering.max() + 1
            )
            own = np.clip(own, -MOST_SDS * OFFERING_LEAVING_SD, MOST_SDS * OFFERING_LEAVING_SD)
            own = own * OFFERING_LEAVING_SD**2 / (OFFERING_LEAVING_SD**2 + variance)
            found["weight"][now] = weight[term[now]]
            found["term"][now] = of_term[term[now]]
            found["offering"][now] = own[offering[now]]
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: `Level(**saved)` reads it."""
        return {
            "season": dict(self.season),
            "course": dict(self.course),
            "term_sd": self.term_sd,
            "offering_sd": self.offering_sd,
        }


NO_LEVEL = Level({}, {}, TERM_SD, OFFERING_SD)


def has_left(frame: pd.DataFrame, columns: Columns) -> np.ndarray:
    """Whether each row's learner withdrew within the four weeks after it, float (rows,)."""
    day = frame[columns.withdrawal_day].to_numpy(float, na_value=np.nan)
    return (day < 7 * (frame[columns.week].to_numpy(float) + WINDOW_WEEKS)).astype(float)


def _surplus(
    log_odds: np.ndarray, outcome: np.ndarray, group: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """By how much the log-odds of each group are too low, and the variance of that by chance."""
    from scipy.special import expit

    # Sums of floats are the same in one order only.
    order = np.lexsort((outcome, log_odds))
    log_odds, outcome, group = log_odds[order], outcome[order], group[order]
    shift, spread = np.zeros(groups), np.zeros(groups)
    observed = np.bincount(group, outcome, groups)
    for _ in range(STEPS):
        p = expit(log_odds + shift[group])
        spread = np.bincount(group, p * (1 - p), groups)
        shift += np.clip((observed - np.bincount(group, p, groups)) / np.maximum(spread, 1e-9), -1, 1)
    # A learner stands in as many windows as one has weeks.
    return shift, WINDOW_WEEKS / np.maximum(spread, 1e-9)


def fit_level(frame: pd.DataFrame, calibrated: np.ndarray, y: np.ndarray, columns: Columns) -> Level:
    """From predictions of matured cohorts by models that had not seen them.

    Args:
        calibrated: log-odds of each row, shape (rows,)
        y: outcomes, shape (rows,)
    """
    import pandas as pd

    offsets = _offsets(frame, calibrated, y, columns)
    if offsets.empty:
        return NO_LEVEL
    weight = 1 / (offsets["error"] ** 2 + OFFERING_SD**2)
    offsets["offset"] -= np.average(offsets["offset"], weights=weight)
    sums = pd.DataFrame({"sum": weight * offsets["offset"], "weight": weight})
    by_term = sums.groupby([offsets["term"], offsets["season"]]).sum()
    terms = (by_term["sum"] / by_term["weight"]).rename("offset").reset_index()
    seasons = terms.groupby("season")["offset"].agg(["mean", "count"])
    season = seasons["mean"] * seasons["count"] / (seasons["count"] + 1)
    if len(season) < 2:
        season = season * 0.0  # a season that is all there is cannot differ from the others
    terms["left"] = terms["offset"] - terms["season"].map(season)
    offsets = offsets.merge(terms[["term", "offset"]], on="term", suffixes=("", " of term"))
    offsets["left"] = offsets["offset"] - offsets["offset of term"]
    courses = offsets.groupby("course")["left"].agg(["mean", "count"])
    course = courses["mean"] * courses["count"] / (courses["count"] + 2)
    rest = offsets["left"] - offsets["course"].map(course)
    beyond_chance = float((rest**2 - offsets["error"] ** 2).sum())
    return Level(
        season.to_dict(),
        course.to_dict(),
        _shrunk_sd(float((terms["left"] ** 2).sum()), len(terms) - 1, TERM_SD, TERMS_OF_PRIOR),
        _shrunk_sd(beyond_chance, len(offsets) - len(terms), OFFERING_SD, OFFERINGS_OF_PRIOR),
    )


def _shrunk_sd(squares: float, degrees: int, prior: float, weight: int) -> float:
    return float(np.sqrt((max(squares, 0.0) + weight * prior**2) / (degrees + weight)))


def _offsets(frame: pd.DataFrame, calibrated: np.ndarray, y: np.ndarray, columns: Columns) -> pd.DataFrame:
    """By offering: its offset (mean over `OFFSET_WEEKS`) and the error of it, term, season and course."""
    import pandas as pd
    from scipy.special import expit

    known = np.unique(frame[columns.week])
    at = {int(known[np.argmin(np.abs(known - week))]) for week in OFFSET_WEEKS}
    likely = expit(calibrated)
    # Small offerings are told by what was expected of them: told by what came, those without any would be left out and
    # the others look worse than they are.
    cohorts = frame.assign(likely=likely, unlikely=1 - likely, y=y)[frame[columns.week].isin(at)]
    cohorts = cohorts.groupby(list(columns.cohort))
    sums = cohorts.agg(likely=("likely", "sum"), unlikely=("unlikely", "sum"), y=("y", "mean"))
    is_told = (sums[["likely", "unlikely"]].min(axis=1) >= FEWEST_EXPECTED) & sums["y"].between(0, 1, "neither")
    found = []
    for key in sums.index[is_told]:
        positions = cohorts.indices[key]
        rows = cohorts.obj.index.to_numpy()[positions]
        offset, error = fit_offset(calibrated[rows], y[rows])
        first = frame.iloc[rows[0]]
        found.append(
            (key[0], offset, error, first[columns.term], str(first[columns.season]), str(first[columns.course]))
        )
    table = pd.DataFrame(found, columns=["offering", "offset", "error", "term", "season", "course"])
    names = {name: (name, "first") for name in ("term", "season", "course")}
    means = {name: (name, "mean") for name in ("offset", "error")}
    return table.groupby("offering", as_index=False).agg(**means, **names)
