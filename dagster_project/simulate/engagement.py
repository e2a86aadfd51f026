"""How engaged learners are day by day: who will leave or fail does less and less, and when is all that tells.

What a first-term enrollment has to show is fixed before (module `enrollments`): active days, seconds and forum visits
by part, on-time hand-ins, the grade. Engagement draws which days of a part carry them, so that no driver becomes a
consequence of the outcome. Besides, it decides what no driver counts:

    late hand-ins    whether what is not handed in on time is handed in at all
    visits           days on which learners look in and finish nothing: no active days, no learning time. In a course
                     that they are about to drop, after its first deadline; after the first term's courses, all
    later terms      days, time and hand-ins of those who fail a course or will not be retained
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dagster_project.simulate import courses as course
from dagster_project.simulate import world
from dagster_project.simulate.enrollments import PASSING_GRADE, Enrollments
from dagster_project.simulate.population import DAY_LIMIT, Population

NEVER = 10_000.0
FADES = 0.8  # of those who drop or fail a course; the others are engaged to the end
EARLY = 5.5  # when: a uniform number to this power, times LATEST, of the time until they drop or the course ends
LATEST = 0.6
HALF_LIFE = 1.1  # days
LEAST = 0.02  # of full engagement: a part's days must lie somewhere
DIPS = 0.14  # of those who pass: they fade and come back
LEAVING_EARLY = 0.75  # of those who will not be retained: half of them begin to by day 80; the others from day 200
LEAVING_HALF_LIFE = 12.0  # days
LESS = 0.15  # of full engagement, at least, in courses that they pass
LATE_HAND_IN = 0.85  # of what is not handed in on time, while engaged
LATER_TERM = 0.6  # of days, time and hand-ins that remain in later terms to those who fail or leave
LOOKS = 5  # events of a visit, at most
LOOKS_BACK = (0.1, 0.03)  # visits a day to a course that is over, in the first term and after it
LOOKS_BACK_UNTIL = 300  # days after the first term's start, before anybody can have come back a year later


@dataclass(frozen=True)
class Engagement:
    """Arrays over enrollments, days counted from their start.

    Engagement is 1 up to day `fades`, then halves every `HALF_LIFE` days, and is 1 again from day `returns` on. When
    somebody leaves the program, it halves from day `leaves` on, too, more slowly.
    """

    fades: np.ndarray
    returns: np.ndarray
    leaves: np.ndarray
    looks_back: np.ndarray  # whether visits follow

    def take(self, which: np.ndarray) -> "Engagement":
        """Some of them, by number."""
        return Engagement(*(x[which] for x in vars(self).values()))

    def on(self, day: np.ndarray) -> np.ndarray:
        """Engagement on a day of each enrollment (enrollments,), or on each of many (enrollments, days)."""
        fades, returns, leaves = (x.reshape(-1, *[1] * (day.ndim - 1)) for x in (self.fades, self.returns, self.leaves))
        fallen = np.maximum(_halved(day - fades, HALF_LIFE), LEAST)
        return np.where(day < returns, fallen, 1) * np.maximum(_halved(day - leaves, LEAVING_HALF_LIFE), LESS)

    def after(self, day: np.ndarray) -> np.ndarray:
        """Engagement (enrollments,) on a day after the course."""
        return _halved(day - self.leaves, LEAVING_HALF_LIFE)


def _halved(days: np.ndarray, half_life: float) -> np.ndarray:
    return np.exp2(-np.maximum(days, 0) / half_life)


def full(population: Population, every: Enrollments) -> Engagement:
    """Everybody engaged to the end."""
    never = np.full(len(every), NEVER)
    return Engagement(never, never, never, _last_of_first_term(population, every))


def draw(population: Population, every: Enrollments) -> Engagement:
    """Engagement of all enrollments, from how they end and from who is retained."""
    rng = np.random.default_rng([population.seed, 23])
    n = len(every)
    length = 7.0 * population.courses.weeks[every.course]
    ends = _ends_badly(every)
    until = np.where(every.dropped_day >= 0, every.dropped_day, length)
    chance, onset, dip = rng.random((3, n))
    fades = np.where(ends & (chance < FADES), LATEST * until * onset**EARLY, NEVER)
    dips = ~ends & (chance < DIPS)
    fades = np.where(dips, 0.9 * length * onset, fades)
    returns = np.where(dips, fades + length * (0.15 + 0.25 * dip), NEVER)
    chance, onset = rng.random((2, len(population)))
    leaving = 5 + np.where(chance < LEAVING_EARLY, 290 * onset**2, 200 + 95 * onset)
    learner = np.where(every.learner < len(population), every.learner, 0)
    first = world.terms().start[population.learners["first_term"][learner]]
    leaves = leaving[learner] - (every.start - first).astype(int)
    leaves = np.where(_will_leave(population, every), leaves, NEVER)
    return Engagement(fades, returns, leaves, _last_of_first_term(population, every))


def fade_later_terms(population: Population, later: Enrollments) -> Enrollments:
    """Later terms with less of everything for those who fail a course or will not be retained.

    Courses of a first term stay as they are: what the others of such a course do is a driver.
    """
    fewer = _ends_badly(later) | _will_leave(population, later)
    fewer &= population.courses.designs.role[later.course] == course.LATER
    share = np.where(fewer, LATER_TERM, 1.0)
    days, seconds = later.days.copy(), later.seconds.copy()
    days[:, 1:] = np.floor(share[:, None] * days[:, 1:])
    seconds[:, 1:] = np.minimum(np.floor(share[:, None] * seconds[:, 1:]), DAY_LIMIT * days[:, 1:])
    return replace(later, days=days, seconds=seconds, on_time=share * later.on_time)


def describe() -> dict[str, Any]:
    """What is planted, for the truth."""
    return {
        "disengagement": {
            "about": "Drawn after the outcomes, from how a course ends and from who is retained: on which days lie the "
            "active days, time and forum visits that an enrollment has to show, visits that finish nothing, late "
            "hand-ins, and how much is done in later terms. No driver changes by it.",
            "fade_before_drop_or_fail": FADES,
            "fade_and_come_back": DIPS,
            "half_life_days": HALF_LIFE,
            "fade_before_not_retained": LEAVING_EARLY,
            "leaving_half_life_days": LEAVING_HALF_LIFE,
            "later_term_part": LATER_TERM,
        }
    }


def _ends_badly(every: Enrollments) -> np.ndarray:
    """Enrollments in a term that are dropped or failed."""
    return (every.term >= 0) & ((every.dropped_day >= 0) | (every.grade < PASSING_GRADE))


def _will_leave(population: Population, every: Enrollments) -> np.ndarray:
    """Enrollments in a term of learners who will not be retained."""
    known = every.learner < len(population)
    stays = population.retained | population.learners["graduates"]
    return known & (every.term >= 0) & ~stays[np.where(known, every.learner, 0)]


def _last_of_first_term(population: Population, every: Enrollments) -> np.ndarray:
    """For each learner the enrollment of the first term that ends last, of those that are not dropped."""
    known = np.flatnonzero((every.learner < len(population)) & (every.term >= 0) & (every.dropped_day < 0))
    known = known[every.term[known] == population.learners["first_term"][every.learner[known]]]
    order = known[np.lexsort((-every.last_day[known], every.learner[known]))]
    found = np.zeros(len(every), bool)
    found[order[np.diff(every.learner[order], prepend=-1) != 0]] = True
    return found
