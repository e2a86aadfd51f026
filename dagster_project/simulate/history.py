"""What surrounds the first terms: later terms of those who stay, open content before and beside the degree.

Retention is realised here: who is retained takes a course in a term of the window one year after the first; who is not
has left by then, and has no activity after leaving but for visits to courses that are over, which become rare (a few
enroll once more and drop before they begin). Of two sessions that overlap a learner takes one.

Graduation is drawn by lot, apart from all that leads to retention: early graduates (`learners["graduates"]`) complete
the program before the window, others in a term after it. Some of those begin another program, whose first year is not
over; some who dropped a course take it once more.
"""

from dataclasses import dataclass

import numpy as np

from dagster_project.simulate import courses as course
from dagster_project.simulate import world
from dagster_project.simulate.enrollments import FIRST_DAYS, Enrollments, parts_of, split
from dagster_project.simulate.population import DAY_LIMIT, Population, drop_slots, taken_slots

OPEN_SHARE = 0.6  # learners of open content only, for each degree learner
STACKABLE = 2  # open courses that stack into each program
CHECKS = 12  # skill checks, one a skill; they follow the open courses of course_type `open`
OPEN_DAYS = 21
OTHER_SESSION = 0.35  # of those whose window has two terms, come back in the one that is not next
TAKEN_AGAIN = 0.03  # of those who dropped a first-term course, take it again in the next term that they attend
GRADUATION = 0.15  # complete the program with a term after the window
ANOTHER_PROGRAM = 0.1  # of these, begin another one


def stackable_into() -> np.ndarray:
    """For each open course the program it stacks into, -1 for none."""
    programs = np.repeat(np.arange(len(world.programs())), STACKABLE)
    return np.concatenate([programs, np.full(world.OPEN_COURSES - len(programs), -1)])


@dataclass(frozen=True)
class OpenEnrollments:
    """Open-course enrollments beside their activity."""

    enrollments: Enrollments
    is_paid: np.ndarray
    is_completed: np.ndarray


def _generic(
    rng: np.random.Generator,
    population: Population,
    learner: np.ndarray,
    chosen: np.ndarray,
    term: np.ndarray,
    start: np.ndarray,
    last_day: np.ndarray,
    level: float,
) -> Enrollments:
    """Enrollments outside the analysis: plausible behaviour, no planted effects."""
    n = len(learner)
    weeks = population.courses.weeks[chosen]
    possible = parts_of(weeks, last_day)
    first = np.clip(np.rint(rng.normal(3.2, 1.4, n)), 1, FIRST_DAYS - 2).astype(np.int64)
    days = first + np.minimum(
        np.clip(np.rint(rng.normal(10, 4.5, n) * level), 0, None).astype(np.int64), possible[0] + possible[1]
    )
    per_day = rng.gamma(4.0, 1400.0, n) * (0.5 + level / 2)
    first_seconds = np.rint(np.minimum(per_day, DAY_LIMIT) * first).astype(np.int64)
    after = np.rint(np.minimum(per_day, DAY_LIMIT) * (days - first)).astype(np.int64)
    days, seconds = split(rng, possible, first, days, first_seconds, first_seconds + after)
    grade = np.round(np.clip(rng.normal(89, 7, n), 40, 100), 2)
    return Enrollments(
        learner=learner,
        course=chosen,
        term=term,
        start=start,
        first_day=np.zeros(n, np.int64),
        last_day=last_day,
        dropped_day=np.full(n, -1),
        days=days,
        seconds=seconds,
        grade=grade,
        standing=grade.copy(),
        visits=np.zeros(n),
        forum_days=rng.poisson(1.5 * level, n),
        on_time=np.full(n, 0.8),
        first_on_time=rng.random(n) < 0.8,
    )


@dataclass(frozen=True)
class LaterTerms:
    """What follows the first terms."""

    enrollments: Enrollments
    completed_on: np.ndarray  # (learners,) day on which the program was completed, NaT: not by the last day of data


def later_courses(population: Population) -> np.ndarray:
    """Courses that each learner's program offers after the first term, (learners, LATER_COURSES)."""
    offered = np.flatnonzero(population.courses.designs.role == course.LATER).reshape(-1, world.LATER_COURSES)
    return offered[population.learners["program"]]


def later_terms(population: Population, liking: np.ndarray | None = None) -> LaterTerms:
    """Degree enrollments after the first term, of all learners, and who completes the program.

    Args:
        liking: of `later_courses`, for learners to choose among them; without it they take them by lot.
    """
    rng = np.random.default_rng([population.seed, 4])
    lot = np.random.default_rng([population.seed, 21])
    terms, learners = world.terms(), population.learners
    n = len(population)
    first = learners["first_term"]
    window = terms.first_later[first], terms.last_later[first]
    returns = terms.next_year[first]
    returns = np.where(lot.random(n) < OTHER_SESSION, sum(window) - returns, returns)
    early, stays = learners["graduates"], population.retained | learners["graduates"]
    left = np.zeros(n, bool)
    free_from = terms.start[first] + world.TERM_DAYS
    completed_on = np.full(n, np.datetime64("NaT"), "datetime64[D]")
    dropped = np.logical_or(*drop_slots(population, learners)) & taken_slots(population)
    again = dropped.any(axis=1) & (lot.random(n) < TAKEN_AGAIN)
    dropped_course = population.taken_course[np.arange(n), np.argmax(dropped, axis=1)]
    offered = later_courses(population)
    drawn = rng.random(offered.shape)
    if liking is not None:
        drawn = -np.log1p(-drawn) / np.exp(liking)  # the smallest is chosen in proportion to exp(liking)
    choice = np.argsort(drawn, axis=1)
    used = np.zeros(n, np.int64)
    per_program = np.bincount(terms.program)
    parts = []
    for ahead in range(1, int(per_program.max())):
        term = first + ahead
        open_term = (term < len(terms)) & (terms.program[np.minimum(term, len(terms) - 1)] == learners["program"])
        term = np.minimum(term, len(terms) - 1)
        begun = open_term & (terms.start[term] <= np.datetime64(world.LAST_DAY))
        chance = rng.random(n)
        before = (term < window[0]) | (window[0] < 0)
        in_window = ~before & (term <= window[1])
        left |= ~stays & (in_window | (before & (chance > 0.45))) | (stays & ~before & ~in_window & (chance > 0.88))
        rate = np.where(terms.is_required[term], 0.9, 0.6)
        wants = np.where(in_window, term == returns, rng.random(n) < rate)
        attends = begun & ~left & wants & (terms.start[term] >= free_from) & (used < world.LATER_COURSES - 1)
        free_from = np.where(attends, terms.start[term] + world.TERM_DAYS, free_from)
        two = attends & (rng.random(n) < 0.35)
        for slot, who in ((0, attends), (1, two)):
            learner = np.flatnonzero(who)
            chosen = offered[learner, choice[learner, used[learner] + slot]]
            if slot == 0:
                chosen = np.where(again[learner], dropped_course[learner], chosen)
            last = 7 * population.courses.weeks[chosen] - 1
            parts.append(
                _generic(rng, population, learner, chosen, term[learner], terms.start[term[learner]], last, 0.8)
            )
        used += attends.astype(np.int64) + two
        again &= ~attends
        # Some who have left enroll once more for the term that counts, and drop before they begin: still not retained.
        ghost = begun & (term == returns) & ~stays & (rng.random(n) < 0.03) & (used < world.LATER_COURSES - 1)
        ghost = np.flatnonzero(ghost)
        chosen = offered[ghost, choice[ghost, used[ghost]]]
        empty = _generic(
            rng,
            population,
            ghost,
            chosen,
            term[ghost],
            terms.start[term[ghost]],
            7 * population.courses.weeks[chosen] - 1,
            0,
        )
        empty.days[:] = empty.seconds[:] = empty.forum_days[:] = 0
        empty.grade[:] = np.nan
        empty.dropped_day[:] = empty.last_day[:] = 3
        parts.append(empty)
        completes = early & (term == window[0] - 1)
        completes |= attends & ~before & ~in_window & (lot.random(n) < GRADUATION)
        completed_on = np.where(completes, terms.start[term] + world.TERM_DAYS, completed_on)
        left |= completes
    completed_on[completed_on > np.datetime64(world.LAST_DAY)] = np.datetime64("NaT")
    return LaterTerms(Enrollments.concatenate(parts), completed_on)


@dataclass(frozen=True)
class OtherPrograms:
    """Arrays over learners who begin another program after they completed one, and what they take in its first term."""

    learner: np.ndarray
    first_term: np.ndarray
    enrollments: Enrollments


def other_programs(population: Population, completed_on: np.ndarray) -> OtherPrograms:
    """Begun in terms whose first year is not over: no row of the retention analysis is theirs."""
    rng = np.random.default_rng([population.seed, 22])
    terms, programs = world.terms(), len(world.programs())
    begin = np.flatnonzero(world.running())
    graduates = np.flatnonzero(~np.isnat(completed_on))
    chosen = graduates[rng.random(len(graduates)) < ANOTHER_PROGRAM]
    program = (population.learners["program"][chosen] + rng.integers(1, programs, len(chosen))) % programs
    fits = (terms.program[begin] == program[:, None]) & (terms.start[begin] > completed_on[chosen][:, None])
    first_term = begin[np.argmax(fits * rng.random(fits.shape), axis=1)]
    learner, first_term = chosen[fits.any(axis=1)], first_term[fits.any(axis=1)]
    offered = np.flatnonzero(population.courses.designs.role == course.FIRST_TERM)
    offered = offered.reshape(-1, world.FIRST_TERM_COURSES)[terms.program[first_term]]
    liked = np.argsort(rng.random(offered.shape), axis=1)
    row, slot = np.nonzero(np.arange(2) < rng.integers(1, 3, len(learner))[:, None])
    taken = offered[row, liked[row, slot]]
    term, last = first_term[row], 7 * population.courses.weeks[taken] - 1
    return OtherPrograms(
        learner,
        first_term,
        _generic(rng, population, learner[row], taken, term, terms.start[term], last, 0.8),
    )


def open_population(population: Population) -> tuple[np.ndarray, np.ndarray]:
    """Learners of open content only: registration day (datetime64) and ability."""
    rng = np.random.default_rng([population.seed, 5])
    n = round(len(population) * OPEN_SHARE)
    span = (np.datetime64(world.LAST_DAY) - np.datetime64("2019-01-01")).astype(int) - 60
    return np.datetime64("2019-01-01") + rng.integers(0, span, n), rng.standard_normal(n)


def harder(ability: np.ndarray, level: np.ndarray) -> np.ndarray:
    """How much learners like courses of a level: abler ones choose harder courses."""
    return 1.2 * ability * (level - 2)


def open_courses(population: Population) -> np.ndarray:
    """Open courses, in order."""
    return np.flatnonzero(population.courses.designs.role == course.OPEN)


def open_content(population: Population, registered: np.ndarray, liking: np.ndarray) -> OpenEnrollments:
    """Open-course enrollments of degree learners, as their drivers say, and of everybody else.

    Args:
        registered: (learners + open learners,) registration dates.
        liking: of `open_courses`, (learners + open learners, open courses).
    """
    rng = np.random.default_rng([population.seed, 6])
    learners = population.learners
    opens = open_courses(population)
    into = stackable_into()
    plain = np.flatnonzero(into < 0)
    start = world.terms().start[learners["first_term"]]
    n = len(population)
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def choose(who: np.ndarray, pool: np.ndarray) -> np.ndarray:
        return pool[np.argmax(liking[who[:, None], pool] + rng.gumbel(size=(len(who), len(pool))), axis=1)]

    def add(who: np.ndarray, number: np.ndarray, begin: np.ndarray, paid: np.ndarray, completed: np.ndarray) -> None:
        rows.append((who, number, begin, paid, completed))

    def before(who: np.ndarray) -> np.ndarray:
        room = np.minimum((start[who] - registered[who]).astype(int) - OPEN_DAYS - 2, 400)
        return start[who] - OPEN_DAYS - 1 - (rng.random(len(who)) * np.maximum(room, 1)).astype(int)

    for flag, paid, completed in (
        ("has_open_completion", 0.4, True),
        ("has_open_paid_not_completed", 1.0, False),
        ("has_open_enrolled_not_completed", 0.0, False),
    ):
        who = np.flatnonzero(learners[flag])
        add(who, choose(who, plain), before(who), rng.random(len(who)) < paid, np.full(len(who), completed))
    more = np.flatnonzero(learners["has_open_completion"] & (rng.random(n) < 0.5))
    # Stackable into another program: for this learner plain open content.
    foreign = (learners["program"][more] * STACKABLE + STACKABLE + rng.integers(0, len(plain), len(more))) % (
        STACKABLE * len(world.programs())
    )
    other = into[foreign] != learners["program"][more]
    add(more[other], foreign[other], before(more[other]), np.zeros(other.sum(), bool), rng.random(other.sum()) < 0.5)
    who = np.flatnonzero(learners["has_stackable_enrollment"])
    number = learners["program"][who] * STACKABLE + rng.integers(0, STACKABLE, len(who))
    add(who, number, before(who), rng.random(len(who)) < 0.2, learners["has_stackable_completion"][who])
    # Beside the degree, after its start: must not count.
    who = np.flatnonzero(rng.random(n) < 0.1)
    add(
        who,
        choose(who, plain),
        start[who] + rng.integers(2, 200, len(who)),
        rng.random(len(who)) < 0.3,
        rng.random(len(who)) < 0.5,
    )
    everybody = np.arange(n, len(registered))
    for _ in range(3):
        who = everybody[rng.random(len(everybody)) < 0.7]
        begin = registered[who] + rng.integers(0, 500, len(who))
        add(who, choose(who, np.arange(len(opens))), begin, rng.random(len(who)) < 0.25, rng.random(len(who)) < 0.35)
    who, number, begin, paid, completed = (np.concatenate(column) for column in zip(*rows, strict=True))
    known = begin <= np.datetime64(world.LAST_DAY)
    _, once = np.unique(who[known] * 1000 + number[known], return_index=True)  # a course once
    keep = np.flatnonzero(known)[np.sort(once)]
    who, number, begin, paid, completed = (x[keep] for x in (who, number, begin, paid, completed))
    e = _generic(
        rng, population, who, opens[number], np.full(len(who), -1), begin, np.full(len(who), OPEN_DAYS - 1), 0.5
    )
    part = np.where(completed, 1.0, 0.4)[:, None]
    e.seconds[:] = (e.seconds * part).astype(np.int64)
    e.grade[:] = np.where(completed, e.grade.clip(80), np.nan)
    return OpenEnrollments(e, paid, completed)


def course_level(population: Population) -> np.ndarray:
    """Level of each course: 1 basic, 2 intermediate, 3 advanced."""
    number = np.arange(len(population.courses))
    role = population.courses.designs.role
    return np.where(role == course.OPEN, 1 + number % 3, np.where(role == course.LATER, 2 + number % 2, 1 + number % 2))
