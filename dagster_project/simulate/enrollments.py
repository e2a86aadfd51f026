"""Course enrollments one below the other, with everything that their events have to show.

A learner's learning in a course has three parts: up to the first deadline, from there to the midpoint, and after it.
Days and seconds are fixed for each part; `events` draws which days and which seconds, by how engaged a learner is on
each (module `engagement`). So the tables need no events, and the events cannot but lead to the tables.
"""

from dataclasses import dataclass, fields

import numpy as np

from dagster_project.simulate import world
from dagster_project.simulate.courses import Courses
from dagster_project.simulate.population import DAY_LIMIT, SLOTS, Population, observed

FIRST_DAYS = world.FIRST_DUE_DAY + 1  # days of the first part
PASSING_GRADE = 80.0


@dataclass
class Enrollments:
    """Arrays over enrollments (learner × course × term). Day indices count from `start`."""

    learner: np.ndarray
    course: np.ndarray
    term: np.ndarray  # number in world.terms(), -1 for open courses
    start: np.ndarray  # datetime64[D]
    first_day: np.ndarray  # index of the first possible day of activity (0 but for late starters)
    last_day: np.ndarray  # index of the last possible one: end of the course or drop
    dropped_day: np.ndarray  # -1: not dropped
    days: np.ndarray  # (enrollments, 3) active days by part
    seconds: np.ndarray  # (enrollments, 3)
    grade: np.ndarray  # percent; nan: none
    standing: np.ndarray  # percent that the scores of single items scatter about
    visits: np.ndarray  # of a course that is dropped: chance that a day after the first deadline has a visit
    forum_days: np.ndarray
    on_time: np.ndarray  # share of graded items handed in on time, beside the first
    first_on_time: np.ndarray

    def __len__(self) -> int:
        return len(self.learner)

    def take(self, which: np.ndarray) -> "Enrollments":
        """Some of them, by mask or number."""
        return Enrollments(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @staticmethod
    def concatenate(parts: "list[Enrollments]") -> "Enrollments":
        """All of them, in order."""
        names = [f.name for f in fields(Enrollments)]
        return Enrollments(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def midpoint(weeks: np.ndarray) -> np.ndarray:
    """First day index that is not before the midpoint."""
    return 7 * weeks // 2


def parts_of(weeks: np.ndarray, last_day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Possible days of the second and the third part."""
    middle = np.maximum(midpoint(weeks), FIRST_DAYS)
    return np.minimum(middle, last_day + 1) - FIRST_DAYS, np.maximum(last_day + 1 - middle, 0)


def split(
    rng: np.random.Generator,
    possible: tuple[np.ndarray, np.ndarray],
    first_days: np.ndarray,
    days: np.ndarray,
    first_seconds: np.ndarray,
    seconds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Days and seconds by part, (enrollments, 3), from those of the first part and of the whole course."""
    second_days = rng.hypergeometric(possible[0], possible[1], days - first_days)
    third_days = days - first_days - second_days
    left = seconds - first_seconds
    share = second_days / np.maximum(days - first_days, 1) * np.exp(0.2 * rng.standard_normal(len(days)))
    second = np.clip(np.rint(left * share), left - DAY_LIMIT * third_days, np.minimum(left, DAY_LIMIT * second_days))
    second = np.where(third_days > 0, second, left).astype(np.int64)
    return (
        np.stack([first_days, second_days, third_days], axis=1),
        np.stack([first_seconds, second, left - second], axis=1),
    )


def first_terms(population: Population) -> Enrollments:
    """The first-term enrollments of all learners, ordered by learner and slot."""
    rng = np.random.default_rng([population.seed, 2])
    learners, noise = population.learners, population.noise
    taken = np.arange(SLOTS) < learners["courses_enrolled_count"][:, None]
    seen, rows = observed(population), population.rows
    learner = np.nonzero(taken)[0]
    course = population.taken_course[taken]
    weeks = population.courses.weeks[course]
    end = 7 * weeks - 1
    dropped, late, chance = seen["dropped"][taken], seen["late"][taken], noise["drop_day"][taken]
    deadline = world.DROP_DEADLINE_DAY
    early_day = deadline - 6 + (7 * chance).astype(np.int64)
    late_day = deadline + 1 + ((end - deadline - 1) * chance).astype(np.int64)
    dropped_day = np.where(dropped, np.where(late, late_day, early_day), -1)
    last_day = np.where(dropped, dropped_day, end)
    whole = {name: seen[name][taken].astype(np.int64) for name in ("days", "seconds")}
    first = {name: rows[name][taken].astype(np.int64) for name in ("first_days", "first_seconds")}
    days, seconds = split(
        rng, parts_of(weeks, last_day), first["first_days"], whole["days"], first["first_seconds"], whole["seconds"]
    )
    m = learners["motivation"][learner]
    on_time = rows["on_time"][taken]
    return Enrollments(
        learner=learner,
        course=course,
        term=learners["first_term"][learner],
        start=world.terms().start[learners["first_term"][learner]],
        first_day=np.zeros(len(learner), np.int64),
        last_day=last_day,
        dropped_day=dropped_day,
        days=days,
        seconds=seconds,
        grade=np.where(dropped, np.nan, rows["grade"][taken]),
        standing=rows["grade"][taken],
        visits=np.where(dropped, (rows["days"] - rows["first_days"])[taken] / (end + 1 - FIRST_DAYS), 0),
        forum_days=rows["forum"][taken].astype(np.int64),
        on_time=np.clip(0.45 + 0.05 * m + 0.35 * on_time, 0.05, 0.97),
        first_on_time=on_time > 0,
    )


@dataclass(frozen=True)
class Assignments:
    """Graded items with a due day of each enrollment, one below the other."""

    enrollment: np.ndarray
    item: np.ndarray  # row in the course's item columns
    is_on_time: np.ndarray


def assignments(rng: np.random.Generator, enrollments: Enrollments, courses: Courses) -> Assignments:
    """Which graded items are handed in on time; items due after a drop are not."""
    due = courses.item_due_day >= 0
    number = np.flatnonzero(due)
    count = np.bincount(courses.item_course[number], minlength=len(courses))
    begin = np.cumsum(count) - count
    own = count[enrollments.course]
    enrollment = np.repeat(np.arange(len(enrollments)), own)
    at = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
    item = number[begin[enrollments.course][enrollment] + at]
    day = courses.item_due_day[item]
    chance = rng.random(len(item)) < enrollments.on_time[enrollment]
    is_first = day == world.FIRST_DUE_DAY
    is_on_time = np.where(is_first, enrollments.first_on_time[enrollment], chance)
    return Assignments(enrollment, item, is_on_time & (day <= enrollments.last_day[enrollment]))
