"""Abilities day by day: at the start, by growth of one's own, and by completed courses, of which some is forgotten."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dagster_project.simulate.variants import FORGETTING_HALF_LIFE

YEAR = 365.25
AFTER_ALL_DAYS = 1_000_000  # more than any day since 1970


@dataclass(frozen=True)
class Trajectories:
    """Abilities of learners in skills on any day; days are counted since 1970.

    `learner`, `skill`, `day` and `gain` are arrays over completed course × skill; a gain counts from its day on.
    """

    start: np.ndarray  # (learners, skills) on the day `since`
    since: np.ndarray  # (learners,) from when on they grow
    growth: np.ndarray  # (learners,) a year
    forgotten: float  # part of a gain that fades, by half in every half-life
    learner: np.ndarray
    skill: np.ndarray
    day: np.ndarray
    gain: np.ndarray

    def at(self, learner: np.ndarray, skill: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Abilities of learners in skills on days, arrays of one length."""
        keys, kept, fading = self._gained
        begin = self._key(learner, skill, 0)
        first, last = np.searchsorted(keys, begin), np.searchsorted(keys, begin + day, side="right")
        left = np.exp2(-(day - self._first_day) / FORGETTING_HALF_LIFE)
        grown = self.growth[learner] * np.maximum(day - self.since[learner], 0) / YEAR
        return self.start[learner, skill] + grown + kept[last] - kept[first] + left * (fading[last] - fading[first])

    @cached_property
    def _first_day(self) -> int:
        return int(self.day.min()) if len(self.day) else 0

    @cached_property
    def _gained(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keys of the gains in order, and sums up to each of what stays and of what fades, as on the first day."""
        keys = self._key(self.learner, self.skill, self.day)
        order = np.argsort(keys, kind="stable")
        grows = np.exp2((self.day[order] - self._first_day) / FORGETTING_HALF_LIFE)
        kept = np.cumsum((1 - self.forgotten) * self.gain[order])
        fading = np.cumsum(self.forgotten * self.gain[order] * grows)
        return keys[order], np.append(0.0, kept), np.append(0.0, fading)

    def _key(self, learner: np.ndarray, skill: np.ndarray, day: np.ndarray | int) -> np.ndarray:
        return (learner * self.start.shape[1] + skill) * AFTER_ALL_DAYS + day
