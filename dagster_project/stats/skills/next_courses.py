"""Which courses a learner should take next for a skill, and where that would bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dagster_project.stats.skills.gap import COURSES, EASIEST, HARDEST, expected_score_shares

if TYPE_CHECKING:
    import pandas as pd

GRID = np.arange(-7.0, 7.0 + 0.01, 0.02)  # abilities at which shares of points are computed; linear between them
CHUNK = 5_000  # learners
COLUMNS = [
    "learner", "rank", "course", "expected_gain", "gain_low", "gain_high", "expected_score_share", "expected_ability",
    "expected_percentile", "reason",
]  # fmt: skip
NO_GAIN = "no course with a known gain"
NOT_OPEN = "no course with a known gain is open to them"
DONE = "every course with a known gain that they may take is completed or under way"
TOO_EASY = f"too easy: they would get more than {EASIEST:.0%} of the points of every course left".replace("%", " %")
TOO_HARD = f"too hard: they would get less than {HARDEST:.0%} of the points of every course left".replace("%", " %")
UNSUITED = "every course left is too easy or too hard"


def next_courses(
    abilities: pd.DataFrame,
    items: pd.DataFrame,
    gains: pd.DataFrame,
    taken: pd.DataFrame,
    admitted: pd.DataFrame,
) -> pd.DataFrame:
    """Courses for every learner, those with the largest shrunken gain first.

    A course is recommended when its gain is estimated, positive after shrinkage and not shown to be negative, when the
    learner would now get 40 to 85 % of its points, when it is open or belongs to a program that admitted them, and when
    they have not completed it and are not taking it.

    Args:
        abilities (frame: learner, ability, percentile): one row a learner.
        items (frame: course, slope, intercept_1 …): questions on the skill's scale.
        gains (frame: course, is_open, gain_low, gain_high, shrunken_gain): ``is_open``: everybody may take the course.
        taken, admitted (frames: learner, course): courses completed or under way; courses of a learner's programs.

    Returns:
        frame: learner, rank, course, expected_gain, gain_low, gain_high, expected_score_share, expected_ability,
        expected_percentile, reason. At most three courses a learner; one row without a course, with the reason, where
        none suits.
    """
    import pandas as pd

    abilities = abilities.sort_values("learner", ignore_index=True)
    share = expected_score_shares(items, GRID) if len(items) else pd.DataFrame()
    known = gains["shrunken_gain"].notna() & (gains["gain_high"] > 0) & (gains["shrunken_gain"] > 0)
    courses = gains[known & gains["course"].isin(share.index)]
    courses = courses.sort_values(["shrunken_gain", "course"], ascending=[False, True], ignore_index=True)
    places = [_places(frame, abilities["learner"], courses["course"]) for frame in (taken, admitted)]
    steepness = _steepness(abilities)
    frames = [pd.DataFrame(columns=COLUMNS)] if abilities.empty else []
    for first in range(0, len(abilities), CHUNK):
        some = abilities.iloc[first : first + CHUNK].reset_index(drop=True)
        done, admits = (_matrix(place, first, len(some), len(courses)) for place in places)
        shares = np.column_stack(
            [np.interp(some["ability"], GRID, share.loc[course]) for course in courses["course"]]
            or [np.empty((len(some), 0))]
        )
        may = admits | courses["is_open"].to_numpy(bool)
        left = may & ~done
        suits = left & (shares >= HARDEST) & (shares <= EASIEST)
        suits &= np.cumsum(suits, axis=1) <= COURSES
        who, which = np.nonzero(suits)
        best = courses.iloc[which].reset_index(drop=True).rename(columns={"shrunken_gain": "expected_gain"})
        best["learner"] = some["learner"].to_numpy()[who]
        best["rank"] = np.arange(len(who)) - np.searchsorted(who, who) + 1
        best["expected_score_share"] = shares[who, which]
        best["expected_ability"] = some["ability"].to_numpy(float)[who] + best["expected_gain"]
        best["expected_percentile"] = _moved(some["percentile"].to_numpy(float)[who], steepness * best["expected_gain"])
        best["reason"] = None
        none = ~suits.any(axis=1)
        reasons = _reasons(may[none], left[none], shares[none])
        without = pd.DataFrame({"learner": some["learner"][none], "rank": 1, "reason": reasons})
        rows = pd.concat(
            [best.reindex(columns=COLUMNS).astype(object), without.reindex(columns=COLUMNS).astype(object)]
        )
        frames.append(rows.sort_values(["learner", "rank"]))
    return pd.concat(frames, ignore_index=True)


def _places(frame: pd.DataFrame, learners: pd.Series, courses: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Places of the learner and of the course in each row that names one of both, ascending by learner."""
    import pandas as pd

    learner = pd.Index(learners).get_indexer(frame["learner"])
    course = pd.Index(courses).get_indexer(frame["course"])
    kept = np.flatnonzero((learner >= 0) & (course >= 0))
    kept = kept[np.argsort(learner[kept], kind="stable")]
    return learner[kept], course[kept]


def _matrix(places: tuple[np.ndarray, np.ndarray], first: int, learners: int, courses: int) -> np.ndarray:
    learner, course = places
    rows = slice(*np.searchsorted(learner, [first, first + learners]))
    found = np.zeros((learners, courses), bool)
    found[learner[rows] - first, course[rows]] = True
    return found


def _reasons(may: np.ndarray, left: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Why nothing is recommended to learners for whom no course suits."""
    if not may.shape[1]:
        return np.full(len(may), NO_GAIN, object)
    easy, hard = shares > EASIEST, shares < HARDEST
    cases = [~may.any(axis=1), ~left.any(axis=1), (easy | ~left).all(axis=1), (hard | ~left).all(axis=1)]
    return np.select(cases, [NOT_OPEN, DONE, TOO_EASY, TOO_HARD], UNSUITED).astype(object)


def _steepness(abilities: pd.DataFrame) -> float:
    """How much the logit of the percentile rises by sd of ability: over the range of a gain it is a straight line."""
    ability, logit = abilities["ability"].to_numpy(float), _logit(abilities["percentile"].to_numpy(float))
    ability, logit = ability[np.isfinite(logit)], logit[np.isfinite(logit)]
    if not len(ability) or np.ptp(ability) == 0:
        return np.nan
    slope = float(np.polyfit(ability, logit, 1)[0])
    return slope if slope > 0 else np.nan


def _moved(percentile: np.ndarray, by: np.ndarray) -> np.ndarray:
    return 100.0 / (1.0 + np.exp(-(_logit(percentile) + by)))


def _logit(percentile: np.ndarray) -> np.ndarray:
    share = np.clip(percentile / 100.0, 1e-4, 1 - 1e-4)
    return np.log(share / (1.0 - share))
