"""From enrollments to days and from days to events, so that days active and learning time come out exactly.

A day's learning in a course is one session, or two more than the idle cap apart. Within a session gaps stay below the
cap, so the day's seconds of learning time are the seconds planned. Forum visits stand alone in the early morning and
add none, and so do visits that finish nothing, whose events all stand alone. What a learner does on a day in several
courses is more than the idle cap apart, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dagster_project.simulate import world
from dagster_project.simulate.courses import Courses
from dagster_project.simulate.engagement import LOOKS, LOOKS_BACK, LOOKS_BACK_UNTIL, Engagement
from dagster_project.simulate.enrollments import FIRST_DAYS, Enrollments, midpoint
from dagster_project.simulate.population import DAY_LIMIT

IDLE_CAP = 30 * 60
MEAN_GAP = 1000  # seconds between events; with weights within 0.75 … 1.25 no gap reaches the idle cap
TYPES = ("item_completed", "video_progress", "page_view", "forum_view", "forum_thread", "forum_reply")
COMPLETED, PROGRESS, PAGE, FORUM_VIEW, FORUM_THREAD, FORUM_REPLY = range(6)
CHUNK_EVENTS = 400_000
APART = IDLE_CAP + 60  # seconds at least between what a learner does in two courses
FORUM, VISIT = -1, -2  # in place of a day's seconds: a visit to the forum, a visit that finishes nothing
NIGHT = 86_400 - APART  # by then the day is over: the next one begins with a forum visit at ten past midnight


@dataclass(frozen=True)
class DayPlan:
    """One row a day on which a learner does something in a course, ordered by enrollment and day."""

    enrollment: np.ndarray
    day: np.ndarray  # index from the enrollment's start
    seconds: np.ndarray  # learning time; `FORUM`; `VISIT`, or less than that by further events of the visit

    def __len__(self) -> int:
        return len(self.enrollment)


def plan_days(rng: np.random.Generator, enrollments: Enrollments, courses: Courses, engagement: Engagement) -> DayPlan:
    """Draws the active days of each part of an enrollment and spreads the part's seconds over them.

    The more engaged learners are on a day, the likelier it is one of them.
    """
    n = len(enrollments)
    width = int(enrollments.last_day.max(initial=0)) + 1
    day = np.arange(width)
    middle = np.maximum(midpoint(courses.weeks[enrollments.course]), FIRST_DAYS)[:, None]
    part = (day >= FIRST_DAYS).astype(np.int8) + (day >= middle)
    part = np.where((day > enrollments.last_day[:, None]) | (day < enrollments.first_day[:, None]), 3, part)
    engaged = engagement.on(np.broadcast_to(day, (n, width)))
    order = np.argsort(part + _weighted(rng.random((n, width)), engaged), axis=1)
    sorted_part = np.take_along_axis(part, order, axis=1)
    size = np.stack([(part == k).sum(axis=1) for k in range(3)], axis=1)
    if (size < enrollments.days).any():
        raise AssertionError("an enrollment has more active days in a part than the part has days")
    begin = np.concatenate([np.zeros((n, 1), np.int64), np.cumsum(size, axis=1)], axis=1)
    wanted = np.concatenate([enrollments.days, np.zeros((n, 1), np.int64)], axis=1)
    rank = day - np.take_along_axis(begin, sorted_part, axis=1)
    active = np.zeros((n, width), bool)
    np.put_along_axis(active, order, rank < np.take_along_axis(wanted, sorted_part, axis=1), axis=1)
    row, at = np.nonzero(active)
    group = row * 3 + part[row, at]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    count = np.diff(np.append(first, len(group)))
    seconds = _spread(rng, enrollments.seconds.reshape(-1)[group[first]], count)
    forum_row, forum_at = _forum_days(rng, enrollments, engaged)
    may_visit = (part > 0) & (part < 3) & ~active
    visits = np.nonzero(may_visit & (rng.random((n, width)) < enrollments.visits[:, None] * engaged))
    visit_row, visit_at = np.concatenate([visits, _looks_back(rng, enrollments, engagement)], axis=1)
    looks = rng.integers(0, LOOKS, len(visit_row))
    every = DayPlan(
        np.concatenate([row, forum_row, visit_row]),
        np.concatenate([at, forum_at, visit_at]),
        np.concatenate([seconds, np.full(len(forum_row), FORUM), VISIT - looks]),
    )
    order = np.lexsort((every.seconds != FORUM, every.day, every.enrollment))
    return DayPlan(every.enrollment[order], every.day[order], every.seconds[order])


def _weighted(chance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Keys from 0 to 1 whose smallest ones are a draw without replacement by these weights; of equal ones `chance`."""
    return np.minimum(1 - (1 - chance) ** (1 / weight), 1 - 1e-9)


def _looks_back(
    rng: np.random.Generator, enrollments: Enrollments, engagement: Engagement
) -> tuple[np.ndarray, np.ndarray]:
    """Different days of visits to courses that are over: enrollment and day."""
    rows, days = [], []
    for rate, begin, end in zip(LOOKS_BACK, (0, world.TERM_DAYS), (world.TERM_DAYS, LOOKS_BACK_UNTIL), strict=True):
        row = np.repeat(
            np.arange(len(enrollments)),
            np.where(engagement.looks_back, rng.poisson(rate * (end - begin), len(enrollments)), 0),
        )
        day = rng.integers(begin, end, len(row))
        kept = (day > enrollments.last_day[row]) & (rng.random(len(row)) < engagement.take(row).after(day))
        rows.append(row[kept])
        days.append(day[kept])
    at = np.unique(np.concatenate(rows) * 1000 + np.concatenate(days))
    return at // 1000, at % 1000


def _spread(rng: np.random.Generator, total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Whole seconds for each of `count` days of a group, `total` in sum, none above the daily limit (plus 1)."""
    group = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    weight = rng.uniform(0.3, 1.7, len(group))
    mean = total / np.maximum(count, 1)
    value = weight / np.add.reduceat(weight, begin)[group] * total[group] if len(group) else weight
    most = np.maximum.reduceat(value, begin) if len(group) else value
    pull = np.clip((DAY_LIMIT - mean) / np.maximum(most - mean, 1e-9), 0, 1)
    value = np.floor(mean[group] + pull[group] * (value - mean[group])).astype(np.int64)
    short = total - np.add.reduceat(value, begin) if len(group) else total
    rank = np.arange(len(group)) - begin[group]
    return value + (rank < short[group])


def _forum_days(
    rng: np.random.Generator, enrollments: Enrollments, engaged: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Different days of forum visits, as many as planned; any day of the enrollment."""
    width = engaged.shape[1]
    keys = _weighted(rng.random(engaged.shape), engaged)
    outside = (np.arange(width) > enrollments.last_day[:, None]) | (np.arange(width) < enrollments.first_day[:, None])
    keys[outside] = 2
    rank = np.argsort(np.argsort(keys, axis=1), axis=1)
    enrollment, day = np.nonzero(rank < enrollments.forum_days[:, None])
    return enrollment, day


@dataclass(frozen=True)
class Events:
    """Events in the order of days: enrollment, item (row in the item columns, -1: none), type, time."""

    enrollment: np.ndarray
    item: np.ndarray
    type: np.ndarray
    occurred: np.ndarray  # seconds since 1970

    def __len__(self) -> int:
        return len(self.enrollment)


def expand(
    rng: np.random.Generator,
    plan: DayPlan,
    date: np.ndarray,
    learner: np.ndarray,
    course: np.ndarray,
    progress: np.ndarray,
    courses: Courses,
) -> Iterator[Events]:
    """Events of planned days, chunk by chunk; a date is in one chunk.

    Args:
        plan: rows ordered by date.
        date: (rows,) days since 1970.
        learner: (rows,) learner numbers.
        course: (rows,) course numbers.
        progress: (rows,) how far the course has gone, 0 to 1: which items come up.
    """
    gaps = np.where(plan.seconds > 0, -(-plan.seconds // MEAN_GAP), 0)
    has_break = (plan.seconds > 3600) & (rng.random(len(plan)) < 0.5)
    posts = (plan.seconds == FORUM) & (rng.random(len(plan)) < 0.3)
    count = gaps + 1 + has_break + posts + np.maximum(VISIT - plan.seconds, 0)
    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(CHUNK_EVENTS, ends[-1] if len(ends) else 0, CHUNK_EVENTS))
    cuts = np.unique(np.searchsorted(date, date[cuts]))
    for rows in np.split(np.arange(len(plan)), cuts):
        if len(rows):
            yield _expand(rng, plan, rows, gaps, has_break, count, date, learner, course, progress, courses)


def _expand(
    rng: np.random.Generator,
    plan: DayPlan,
    rows: np.ndarray,
    gaps: np.ndarray,
    has_break: np.ndarray,
    count: np.ndarray,
    date: np.ndarray,
    learner: np.ndarray,
    course: np.ndarray,
    progress: np.ndarray,
    courses: Courses,
) -> Events:
    size, seconds = count[rows], plan.seconds[rows]
    n = int(size.sum())
    row = np.repeat(np.arange(len(rows)), size)
    begin = np.cumsum(size) - size
    number = np.arange(n) - begin[row]
    forum, visit = seconds == FORUM, seconds <= VISIT
    pause_at = np.where(has_break[rows], 2 + (rng.random(len(rows)) * (gaps[rows] - 2)).astype(np.int64), n + 1)
    pause = rng.integers(IDLE_CAP + 60, 3 * 3600, len(rows))
    random = rng.random(n)
    weight = 0.75 + 0.5 * random
    weight[(number == 0) | (number == pause_at[row])] = 0
    walked = np.cumsum(weight)
    start_walked = walked[begin]
    total = walked[begin + size - 1] - start_walked
    scale = np.divide(np.maximum(seconds, 0), total, out=np.zeros(len(rows)), where=total > 0)
    offset = np.rint((walked - start_walked[row]) * scale[row]).astype(np.int64)
    offset += np.where(number >= pause_at[row], pause[row], 0)
    offset += np.where(visit[row], number * (APART + pause[row] % APART // 2), 0)
    morning = np.where(
        forum, 600 + (13_800 * rng.random(len(rows))).astype(np.int64), rng.integers(5 * 3600, 12 * 3600, len(rows))
    )
    morning = _apart(date[rows], learner[rows], morning, offset[begin + size - 1])
    occurred = (date[rows] * 86_400 + morning)[row] + offset
    second = rng.random(n)
    kind = np.where(second < 0.25, COMPLETED, np.where(second < 0.8, PROGRESS, PAGE))
    kind[visit[row] & (kind == COMPLETED)] = PAGE
    kind[begin] = np.where(forum, FORUM_VIEW, np.where(visit, PAGE, COMPLETED))
    post = (number > 0) & forum[row]
    kind[post] = np.where(second[post] < 0.3, FORUM_THREAD, FORUM_REPLY)
    first_item = courses.item_start[course[rows]]
    items = courses.item_start[course[rows] + 1] - first_item
    at = ((0.75 * progress[rows] + 0.0)[row] + 0.25 * second) * items[row]
    item = np.where(forum[row], -1, first_item[row] + np.minimum(at.astype(np.int64), items[row] - 1))
    return Events(plan.enrollment[rows][row], item, kind.astype(np.int8), occurred)


def _apart(date: np.ndarray, learner: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Starts of what learners do on a day, moved so that each ends well before the next one begins.

    Later ones wait; where the day gets too short for that, all are moved towards its beginning. The few days that are
    too short for all of it (more than some 20 hours) go on after midnight.

    Args:
        date: (rows,) days.
        learner: (rows,) learner numbers.
        start: (rows,) seconds of the day.
        length: (rows,) seconds from the first to the last event.
    """
    order = np.lexsort((start, learner, date))
    is_first = (np.diff(date[order], prepend=-1) != 0) | (np.diff(learner[order], prepend=-1) != 0)
    begin = np.flatnonzero(is_first)
    size = np.diff(np.append(begin, len(order)))
    starts, lengths = start[order].copy(), length[order]
    for k in range(1, int(size.max(initial=0))):
        at = begin[size > k] + k
        starts[at] = np.maximum(starts[at], starts[at - 1] + lengths[at - 1] + APART)
    last = begin + size - 1
    starts[last] = np.minimum(starts[last], NIGHT - lengths[last])
    for k in range(1, int(size.max(initial=0))):
        at = last[size > k] - k
        starts[at] = np.minimum(starts[at], starts[at + 1] - lengths[at] - APART)
    starts[begin] = np.maximum(starts[begin], 600)
    for k in range(1, int(size.max(initial=0))):
        at = begin[size > k] + k
        starts[at] = np.maximum(starts[at], starts[at - 1] + lengths[at - 1] + APART)
    moved = np.empty_like(start)
    moved[order] = starts
    return moved
