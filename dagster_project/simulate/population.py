"""Learners, their first term and what it leads to: the structural equations of the simulated university.

Equations in this order (every `noise` is independent; value maps are in `Solved`):

1.  program s; observed Z = region, age, education, employment, registration timing, terms since admitted; their
    distribution depends on the program's effect.
2.  motivation m and ability q: linear in Z. Observed confounding only, so that the truth is recoverable.
3.  open content: completed, paid only, enrolled only (one of them or none), stackable enrolled, stackable completed.
4.  load L in 1, 2, 3 from m and s; an early drop and a late drop, each from Z and L.
5.  three courses in order of preference from Z and s, of which the first L are taken.
6.  days to the first deadline (m, completed, pace), hours to it (days, m), first hand-in on time (m, days).
7.  days (m, first days, on time, pace), hours (days, m, q), grade (q, days, on time); what the others of the course do.
8.  retention: logistic in m, q, s, course and program × term shocks, and every driver × coefficient.

Some complete a short program within their first year (`graduates`). They come on top, by lot among all who could have
begun then: nothing leads to it, and no row of the retention analysis is theirs.

Noise of drivers with an effect is independent between a learner's courses; `forum_days`, without effect, has a
learner component with correlation .6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import expit

from dagster_project.simulate import courses as course
from dagster_project.simulate import maps, world
from dagster_project.simulate.drivers import DRIVERS, Driver

SLOTS = 3  # courses a learner may take in the first term
DAY_LIMIT = 8 * 3600  # seconds of learning that fit into a day
GRADUATE_SHARE = 0.03  # complete a short program within the first year
DROPPED_PART = 0.05  # what a learner who drops a course still does of the rest
Rows = dict[str, np.ndarray]  # (learners, SLOTS)

MOTIVATION = {
    "region": np.array([0.25, -0.15, 0.3, -0.35, -0.1, 0.0]),
    "education_level": np.array([-0.6, -0.3, 0.1, 0.35, 0.5]),
    "employment_status": np.array([0.1, -0.2, 0.15, -0.35, 0.1]),
    "age_years": 0.045,
    "is_long_time_learner": 0.75,
    "terms_since_admitted_count": -0.3,
}
ABILITY = {
    "region": np.array([0.1, -0.2, 0.2, -0.2, 0.1, 0.25]),
    "education_level": np.array([-0.8, -0.4, 0.05, 0.45, 0.8]),
    "employment_status": np.array([0.05, -0.05, 0.1, -0.2, 0.1]),
    "age_years": -0.025,
    "is_long_time_learner": 0.3,
    "terms_since_admitted_count": 0.0,
}


# Quantiles .005, .25, .5, .75, .995 of each behaviour: printed quartiles, tails at most 1.25 IQR beyond.
# Its noise has the same shape, so that a value map is nearly linear and effects hardly bend.
SHAPES = {
    "first_days": (1, 2, 3.4, 5, 8.75),
    "first_hours": (0.05, 2.43, 5.2, 8.73, 16.6),
    "days": (1, 8, 12, 18, 30),
    "hours": (0.3, 11.53, 23.5, 39.45, 74.35),
    "grade": (74, 86.4, 92, 96.3, 100),
}


@dataclass(frozen=True)
class Solved:
    """Constants fitted once on a large population (module `truth`): value maps, scales, coefficients."""

    maps: dict[str, maps.ValueMap]
    scale: dict[str, tuple[float, float]]  # mean and deviation of m, q and pace
    exchange: dict[str, dict[str, float]]  # what other ungraded shares give way when one grows by 1
    centre: dict[str, float]  # mean of each course-level driver over its sample
    coefficient: dict[str, float]  # on the logit, by driver name
    intercept: float


@dataclass
class Population:
    """One university: its courses, its learners and every noise draw.

    Matured learners come first, then the running cohorts, then the early graduates.
    """

    seed: int
    students: int
    solved: Solved
    courses: course.Courses
    learners: dict[str, np.ndarray]
    taken_course: np.ndarray  # (learners, SLOTS)
    noise: dict[str, np.ndarray]
    hidden: np.ndarray = field(default_factory=lambda: np.zeros(0))  # 0 unless the hidden confounder is switched on
    skill_variant: str | None = None  # one of `variants.VARIANTS`; nothing but skills and who chooses them follows it

    def __len__(self) -> int:
        return len(self.taken_course)

    @cached_property
    def pace(self) -> np.ndarray:
        """Lessons a week of each row's course, standardised: the observed part of how a course paces its learners."""
        columns = self.courses.columns
        lessons = (columns["item_count"] - columns["assignment_count"]) / columns["week_count"]
        mean, deviation = self.solved.scale["pace"]
        return ((lessons - mean) / deviation)[self.taken_course]

    @cached_property
    def design(self) -> Rows:
        """Design columns of each row's course."""
        names = {driver.column for driver in DRIVERS if driver.kind == "design"}
        return {name: self.courses.columns[name][self.taken_course] for name in names}

    @cached_property
    def rows(self) -> Rows:
        """Behaviour in the world as it is."""
        return behave(self, self.learners)

    @cached_property
    def course_behaviour(self) -> Rows:
        """What the others of a course do, the row's learner left out."""
        return others(self)

    @cached_property
    def all_rows(self) -> Rows:
        """Everything about the rows that retention depends on."""
        return self.rows | self.design | self.course_behaviour

    @cached_property
    def logit(self) -> np.ndarray:
        """Log odds of retention, (learners,)."""
        return logit(self, self.learners, self.all_rows)

    @cached_property
    def probability(self) -> np.ndarray:
        """True probability of retention, (learners,)."""
        return expit(self.logit)

    @cached_property
    def retained(self) -> np.ndarray:
        """The outcome: one draw for each learner."""
        return self.noise["retained"] < self.probability


def draw(
    seed: int, students: int, solved: Solved, *, hidden: bool = False, skill_variant: str | None = None
) -> Population:
    """A university of `students` learners with a matured outcome, its running cohorts and early graduates.

    Args:
        seed: the same seed gives the same university.
        students: degree learners with a matured first-year outcome, without those who graduated by then.
        hidden: switch on an unobserved trait that moves `has_open_completion`, `days_active` and the outcome.
        skill_variant: what is planted about skills, one of `variants.VARIANTS`.
    """
    course_rng, rng = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 1]).spawn(2))
    courses = course.build(course_rng, course.draw_designs(course_rng), solved.maps)
    learners = draw_learners(rng, students)
    n = len(learners["program"])
    trait = rng.standard_normal(n) * hidden
    standardise(learners, solved.scale)
    taken = choose_courses(rng, courses.designs, learners)
    noise = draw_noise(rng, n)
    add_program_behaviour(learners, noise, trait)
    trait = trait if hidden else np.zeros(0)
    return Population(seed, students, solved, courses, learners, taken, noise, trait, skill_variant)


def _choice(rng: np.random.Generator, share: np.ndarray) -> np.ndarray:
    """One category a row: `share` (rows, categories), 1 in sum over the categories."""
    return (rng.random(len(share))[:, None] > np.cumsum(share, axis=1)[:, :-1]).sum(axis=1)


def draw_learners(rng: np.random.Generator, students: int) -> dict[str, np.ndarray]:
    """Program, first term and observed traits Z of each learner."""
    programs, terms = world.programs(), world.terms()
    weight = terms.entry * programs.share[terms.program]
    per_program = np.bincount(terms.program, weight * world.matured(), len(programs))
    weight = weight * (programs.share / per_program)[terms.program]  # programs' shares hold whatever their calendars
    matured, running = weight * world.matured(), weight * world.running()
    short = matured * np.isin(terms.program, world.SHORT)
    more = round(students * running.sum() / matured.sum())
    graduates = math.ceil(GRADUATE_SHARE * students * short.sum() / matured.sum())
    first_term = np.concatenate(
        [
            rng.choice(len(terms), size, p=share / share.sum())
            for size, share in ((students, matured), (more, running), (graduates, short))
        ]
    )
    n = students + more + graduates
    program = terms.program[first_term]
    tilt = (programs.effect / world.EFFECT_DEVIATION)[program][:, None]  # better retaining programs draw other learners
    region = world.REGION_SHARE * np.exp(tilt * np.array([0.2, -0.1, 0.15, -0.2, -0.1, 0.0]))
    bachelor = np.array(programs.levels)[program] == "bachelor"
    education = np.where(bachelor[:, None], [0.35, 0.4, 0.18, 0.05, 0.02], [0.01, 0.05, 0.62, 0.27, 0.05])
    education = education * np.exp(tilt * np.array([-0.2, -0.1, 0.0, 0.15, 0.2]))
    employment = world.EMPLOYMENT_SHARE * np.exp(tilt * np.array([0.1, -0.05, 0.05, -0.2, 0.0]))
    region, education, employment = (
        _choice(rng, x / x.sum(axis=1, keepdims=True)) for x in (region, education, employment)
    )
    age = 19 - 2.5 * bachelor + rng.gamma(4.0, 3.8, n) + 0.8 * tilt[:, 0]
    terms_before = np.arange(len(terms)) - np.searchsorted(terms.program, terms.program)
    waited = _choice(rng, np.tile([0.74, 0.19, 0.07], (n, 1)))
    return {
        "program": program,
        "first_term": first_term,
        "matured": np.arange(n) < students,
        "graduates": np.arange(n) >= students + more,
        "region": region,
        "education_level": education,
        "employment_status": employment,
        "age_years": np.clip(age.astype(int), 18, 70),
        "is_long_time_learner": rng.random(n) < 0.45 + 0.05 * tilt[:, 0],
        "terms_since_admitted_count": np.minimum(waited, terms_before[first_term]),
        "is_required_term": terms.is_required[first_term],
    }


def linear(traits: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray | float]) -> np.ndarray:
    """Sum over the traits of level weights (categories) or slope × value."""
    total = np.zeros(len(traits["region"]))
    for name, weight in weights.items():
        total += weight[traits[name]] if isinstance(weight, np.ndarray) else weight * traits[name]
    return total


def standardise(learners: dict[str, np.ndarray], scale: Mapping[str, tuple[float, float]]) -> None:
    """Adds motivation and ability to the learners."""
    for name, weights in (("motivation", MOTIVATION), ("ability", ABILITY)):
        mean, deviation = scale[name]
        learners[name] = (linear(learners, weights) - mean) / deviation


def choose_courses(rng: np.random.Generator, designs: course.Designs, learners: Mapping[str, np.ndarray]) -> np.ndarray:
    """Three different first-term courses of the program, (learners, SLOTS), in order of preference."""
    offered = np.flatnonzero(designs.role == course.FIRST_TERM).reshape(-1, world.FIRST_TERM_COURSES)
    taken = np.empty((len(learners["program"]), SLOTS), np.int64)
    for program, ids in enumerate(offered):
        who = np.flatnonzero(learners["program"] == program)
        liking = designs.popularity[ids] + learners["motivation"][who, None] * designs.appeal[ids]
        liking = liking + learners["ability"][who, None] * designs.challenge[ids]
        liking = liking + rng.gumbel(size=liking.shape)
        taken[who] = ids[np.argsort(-liking, axis=1)[:, :SLOTS]]
    return taken


def draw_noise(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """All further noise: named, so that an intervention leaves it as it was."""
    noise = {
        name: rng.random(n)
        for name in (
            "open",
            "stackable",
            "stackable_completed",
            "early",
            "late",
            "late_given_count",
            "redraw",
            "retained",
            "target_role",
            "sponsored",
            "ticket",
        )
    }
    noise["load"] = rng.standard_normal(n)
    for name, values in SHAPES.items():
        noise[name] = maps.shaped(rng.standard_normal((n, SLOTS)), values)
    noise["on_time"] = rng.random((n, SLOTS))
    noise["forum"] = np.sqrt(0.6) * rng.standard_normal((n, 1)) + np.sqrt(0.4) * rng.standard_normal((n, SLOTS))
    noise["term"] = rng.normal(0, 0.08, len(world.terms()))  # shock of a program × first term
    noise["which"] = rng.gumbel(size=(n, SLOTS))
    noise["drop_day"] = rng.random((n, SLOTS))
    return noise


def add_program_behaviour(learners: dict[str, np.ndarray], noise: Mapping[str, np.ndarray], trait: np.ndarray) -> None:
    """Open content, load and drops: the drivers of learner × program."""
    m = learners["motivation"]
    limits = np.cumsum(
        np.stack(
            [
                np.clip(0.28 + 0.055 * m + 0.10 * trait, 0.02, 0.7),
                np.clip(0.08 - 0.01 * m, 0.02, 0.2),
                np.clip(0.22 - 0.05 * m, 0.02, 0.4),
            ]
        ),
        axis=0,
    )
    state = (noise["open"] > limits).sum(axis=0)
    learners["has_open_completion"] = state == 0
    learners["has_open_paid_not_completed"] = state == 1
    learners["has_open_enrolled_not_completed"] = state == 2
    learners["has_stackable_enrollment"] = noise["stackable"] < stackable_rate(m)
    learners["has_stackable_completion"] = learners["has_stackable_enrollment"] & (
        noise["stackable_completed"] < completion_rate(m)
    )
    learners["courses_enrolled_count"] = load(learners, noise)
    early, late = drop_rates(m, learners["courses_enrolled_count"])
    learners |= drops(learners["courses_enrolled_count"], noise["early"] < early, noise["late"] < late)
    learners["has_target_role"] = noise["target_role"] < np.clip(0.35 + 0.08 * m, 0.02, 0.98)
    learners["is_sponsored"] = noise["sponsored"] < np.clip(0.3 + 0.05 * m, 0.02, 0.98)


def stackable_rate(m: np.ndarray) -> np.ndarray:
    """Probability of an enrollment in stackable open content."""
    return np.clip(0.26 + 0.07 * m, 0.02, 0.9)


def completion_rate(m: np.ndarray) -> np.ndarray:
    """Probability that one enrolled in stackable content completes some of it."""
    return np.clip(0.42 + 0.06 * m, 0.02, 0.9)


def load(learners: Mapping[str, np.ndarray], noise: Mapping[str, np.ndarray]) -> np.ndarray:
    """Courses enrolled in the first term."""
    index = 0.28 * learners["motivation"] + world.programs().load[learners["program"]] + noise["load"]
    return 1 + (index > -0.42) + (index > 0.85)


def drop_rates(m: np.ndarray, load: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of an early and of a late drop."""
    return (
        np.clip(0.42 - 0.05 * m + 0.03 * (load - 2), 0.02, 0.9),
        np.clip(0.23 - 0.04 * m + 0.02 * (load - 2), 0.02, 0.9),
    )


def drops(load: np.ndarray, early: np.ndarray, late: np.ndarray) -> dict[str, np.ndarray]:
    """Drop columns. An early and a late drop are separate; with one course only the late one counts."""
    early = early & ~(late & (load == 1))
    return {"early": early, "has_drop_after_deadline": late, "courses_dropped_count": early.astype(int) + late}


def drop_slots(population: "Population", learners: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which of a learner's courses are dropped early and late, two (learners, SLOTS) masks.

    The more a course burdens, the sooner it is the one dropped; how many are dropped depends on the learner alone.
    """
    taken = np.arange(SLOTS) < learners["courses_enrolled_count"][:, None]
    preference = population.courses.designs.burden[population.taken_course] + population.noise["which"]
    order = np.argsort(np.where(taken, -preference, np.inf), axis=1)
    rank = np.argsort(order, axis=1)
    is_early, is_late = (np.asarray(learners[name]) > 0 for name in ("early", "has_drop_after_deadline"))
    return is_early[:, None] & (rank == 0), is_late[:, None] & (rank == is_early[:, None])


def behave(population: Population, learners: Mapping[str, np.ndarray], given: Rows | None = None) -> Rows:
    """What learners do in their courses, whole course as if not dropped, (learners, SLOTS) each.

    `given` replaces columns by other values; what follows from them is recomputed, all else stays. Units: days,
    seconds, percent.
    """
    given = given or {}
    noise, value_of = population.noise, population.solved.maps
    m, q = learners["motivation"][:, None], learners["ability"][:, None]
    weeks = population.courses.weeks[population.taken_course]
    rows = dict(given)

    if "first_days" not in rows:
        index = 0.32 * m + 0.5 * learners["has_open_completion"][:, None] + 0.35 * population.pace + noise["first_days"]
        rows["first_days"] = np.rint(value_of["first_days"](index))
    if "first_seconds" not in rows:
        index = 0.30 * rows["first_days"] + 0.25 * m + 0.8 * noise["first_hours"]
        rows["first_seconds"] = np.rint(3600 * value_of["first_hours"](index))
        rows["first_seconds"] = np.minimum(rows["first_seconds"], DAY_LIMIT * rows["first_days"])
    if "on_time" not in rows:
        chance = np.clip(0.53 + 0.04 * m + 0.05 * rows["first_days"], 0.05, 0.97)
        rows["on_time"] = (noise["on_time"] < chance).astype(float)
    if "days" not in rows:
        index = 0.28 * m + 0.20 * rows["first_days"] + 0.4 * rows["on_time"] + 0.75 * population.pace + noise["days"]
        if len(population.hidden):
            index = index + 0.5 * population.hidden[:, None]
        room = 7 * weeks - world.FIRST_DUE_DAY - 2
        rows["days"] = np.clip(np.rint(value_of["days"](index)), rows["first_days"], rows["first_days"] + room)
    if "seconds" not in rows:
        index = 0.10 * rows["days"] + 0.25 * m - 0.7 * q + 0.8 * noise["hours"]  # the able need less time
        after = np.maximum(rows["days"] - rows["first_days"], 0)
        rows["seconds"] = np.clip(
            np.rint(3600 * value_of["hours"](index)), rows["first_seconds"], rows["first_seconds"] + DAY_LIMIT * after
        )
    if "grade" not in rows:
        index = 0.6 * q + 0.04 * rows["days"] + 0.4 * rows["on_time"] + 0.8 * noise["grade"]
        rows["grade"] = np.round(value_of["grade"](index), 2)
    if "forum" not in rows:
        rows["forum"] = np.clip(np.rint(2.4 + 0.6 * m + 2.0 * noise["forum"]), 0, 12)
    return rows


def taken_slots(population: Population) -> np.ndarray:
    """Which slots are taken, (learners, SLOTS)."""
    return np.arange(SLOTS) < population.learners["courses_enrolled_count"][:, None]


def stayed(population: Population, learners: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Which slots are not dropped, (learners, SLOTS)."""
    early, late = drop_slots(population, population.learners if learners is None else learners)
    return ~(early | late)


def observed(population: Population) -> Rows:
    """Days and seconds as the events show them: a dropped course ends early."""
    early, late = drop_slots(population, population.learners)
    dropped = (early | late) & taken_slots(population)
    rows = population.rows
    days_after = np.where(
        dropped, np.floor(DROPPED_PART * (rows["days"] - rows["first_days"])), rows["days"] - rows["first_days"]
    )
    seconds_after = rows["seconds"] - rows["first_seconds"]
    seconds_after = np.where(dropped, np.floor(DROPPED_PART * seconds_after) * (days_after > 0), seconds_after)
    return {
        "dropped": dropped,
        "late": late & dropped,
        "days": rows["first_days"] + days_after,
        "seconds": rows["first_seconds"] + np.minimum(seconds_after, DAY_LIMIT * days_after),
    }


def others(population: Population) -> Rows:
    """Leave-one-out median of days and mean of minutes a week; rows that are not taken get the course's own figure."""
    taken = taken_slots(population)
    counted = taken & population.learners["matured"][:, None]
    seen = observed(population)
    n = len(population.courses)
    minutes = seen["seconds"] / 60 / population.courses.weeks[population.taken_course]
    stayed = counted & ~seen["dropped"]
    total = np.bincount(population.taken_course[stayed], minutes[stayed], n)[population.taken_course]
    count = np.bincount(population.taken_course[stayed], minlength=n)[population.taken_course] - stayed
    mean = np.divide(total - np.where(stayed, minutes, 0), count, out=np.full(count.shape, np.nan), where=count > 0)
    return {
        "course_median_days_active": _median_of_others(population.taken_course, seen["days"], counted, n),
        "course_learning_minutes_per_week": mean,
    }


def _median_of_others(group: np.ndarray, value: np.ndarray, counted: np.ndarray, groups: int) -> np.ndarray:
    """Median of the counted values of a row's group without its own; nan where none is left."""
    result = np.full(value.shape, np.nan)
    order = np.lexsort((value[counted], group[counted]))
    g, v = group[counted][order], value[counted][order]
    size = np.bincount(g, minlength=groups)
    start = np.cumsum(size) - size
    rank = np.arange(len(g)) - start[g]
    left = size[g] - 1

    def at(k: np.ndarray) -> np.ndarray:  # k-th smallest of the others
        return v[np.clip(start[g] + k + (rank <= k), 0, max(len(v) - 1, 0))]

    low, high = np.maximum((left - 1) // 2, 0), left // 2
    back = np.empty(len(g))
    back[order] = np.where(left > 0, (at(low) + at(high)) / 2, np.nan)
    result[counted] = back
    middle = np.full(groups, np.nan)
    some = size > 0
    middle[some] = (v[(start + (size - 1) // 2)[some]] + v[(start + size // 2)[some]]) / 2
    return np.where(counted, result, middle[group])


def logit(population: Population, learners: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    """Log odds of retention, (learners,)."""
    solved = population.solved
    total = solved.intercept + 0.09 * learners["motivation"] + 0.04 * learners["ability"]
    total = total + world.programs().effect[learners["program"]] + population.noise["term"][learners["first_term"]]
    if len(population.hidden):
        total = total + 0.5 * population.hidden
    for driver in DRIVERS:
        if driver.kind == "program" and solved.coefficient[driver.name]:
            total = total + solved.coefficient[driver.name] * learners[driver.column]
    taken = np.arange(SLOTS) < learners["courses_enrolled_count"][:, None]
    return total + (contribution(population, learners, rows) * taken).sum(axis=1)


OWN_ROWS = {  # driver → row of `behave`, and what divides it
    "days_active": ("days", 1),
    "grade_achieved": ("grade", 1),
    "learning_hours": ("seconds", 3600),
    "first_on_time": ("on_time", 1),
    "first_days_active": ("first_days", 1),
    "first_learning_hours": ("first_seconds", 3600),
    "forum_days": ("forum", 1),
}


def contribution(population: Population, learners: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
    """What each course adds to the log odds, (learners, SLOTS): coefficients × (driver − its mean) and a shock."""
    kept = stayed(population, learners)
    total = population.courses.designs.shock[population.taken_course]
    for driver in DRIVERS:
        if driver.kind != "program" and population.solved.coefficient[driver.name]:
            total = total + term(population, driver, rows, kept)
    return total


def term(population: Population, driver: Driver, rows: Rows, kept: np.ndarray) -> np.ndarray:
    """One driver's part of `contribution`; 0 outside the driver's sample."""
    row, unit = OWN_ROWS.get(driver.name, (driver.column, 1))
    value = rows[row] / unit
    if driver.sample == "not dropped":
        counts = kept
    elif driver.sample == "has a first deadline":
        counts = population.courses.has_deadlines[population.taken_course]
    elif driver.sample == "share > 0":
        counts = value > 0
    else:
        counts = ~np.isnan(value)
    return population.solved.coefficient[driver.name] * np.where(
        counts, value - population.solved.centre[driver.name], 0
    )
