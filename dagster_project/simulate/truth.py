"""The planted truth: what a planted percent means, how coefficients are solved to meet it, and the file that tells it.

Estimand of driver j: what the report's own calculation would give if the driver had been handed out at random.

1.  In a population of at least 300,000 learners keep every noise draw and every value map.
2.  Replace j by a random permutation of itself over the rows of its sample, recompute everything downstream of it,
    leave everything else. At learner × course only the row's own value is replaced.
3.  alpha = cov(p, d) / var(d) with the true probability p, no coin toss.
4.  pct = alpha (high − low) / (mean p + alpha (low − mean d)), both means of the unpermuted population.

Who graduated within the first year is in no population: graduation is drawn by lot, apart from drivers and outcome, and
the analysis leaves graduates out.

The base p(reference value of d) is subtracted from p before the covariance: its expectation with a permuted d is
exactly zero, and with it goes nearly all Monte Carlo error.

Where a driver has consequences (`intervene`)
    has_open_completion → first days → hours, on time, days, grade of every course
    stackable enrolled → completed; stackable completed implies enrolled; not completed: enrolled as among the others
    courses enrolled → which further courses, drops; courses dropped → late ones among them; a late drop is a drop
    kinds of graded items → hands-on, shares of the grade; hands-on → its members as in another course of the program
    a share of the grade → the other shares in proportion; an ungraded share → the others at their usual rates
    first days → first hours, on time, days, hours, grade; first hours → hours; on time → days; days → hours, grade

`solved.json` holds the constants; module `solving` writes it.
`describe` gives the content of truth.json, written outside the landing folder; no mart or asset reads it. Modules
`skills` and `employers` add what they plant: questions, gains of courses, shifts of employers' people.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from dagster_project.simulate import courses as course
from dagster_project.simulate import maps, world
from dagster_project.simulate.drivers import BY_NAME, DRIVERS, Driver
from dagster_project.simulate.population import (
    OWN_ROWS,
    SLOTS,
    Population,
    Rows,
    Solved,
    behave,
    completion_rate,
    drop_rates,
    drops,
    logit,
    stackable_rate,
    stayed,
    term,
)

SOLVED_FILE = Path(__file__).with_name("solved.json")
BASE_RATE = 0.75
STUDENTS = 17_960
SOLVING_SEEDS = tuple(range(900, 917))  # 17 × 17,960 = 305,320 learners
EXACT_NULLS = (
    "open_paid_not_completed",
    "term_is_required",
    "has_target_role",
    "is_sponsored",
    "late_penalty",
    "forum_days",
)


@cache
def solved() -> Solved:
    """The solved constants."""
    content = json.loads(SOLVED_FILE.read_text())
    return Solved(
        maps={name: maps.ValueMap(tuple(m["points"]), tuple(m["values"])) for name, m in content["maps"].items()},
        scale={name: tuple(pair) for name, pair in content["scale"].items()},
        exchange=content["exchange"],
        centre=content["centre"],
        coefficient=content["coefficient"],
        intercept=content["intercept"],
    )


def describe(population: Population) -> dict[str, Any]:
    """Everything that is planted, as plain values: effects, coefficients, constants."""
    return {
        "seed": population.seed,
        "students": population.students,
        "base_rate": BASE_RATE,
        "hidden_confounder": bool(len(population.hidden)),
        "drivers": {
            d.name: {
                "column": d.column,
                "level": d.level,
                "sample": d.sample,
                "low": d.low,
                "high": d.high,
                "planted_percent": d.planted,
                "coefficient": population.solved.coefficient[d.name],
            }
            for d in DRIVERS
        },
        "calendars": world.calendars(),
        "program_effects": dict(zip(world.programs().ids, world.programs().effect.tolist(), strict=True)),
    }


# Values and samples


def values(population: Population, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A driver's values and its sample mask; (learners,) or (learners, SLOTS)."""
    driver = BY_NAME[name]
    matured = population.learners["matured"]
    if driver.kind == "program":
        return population.learners[driver.column].astype(float), matured
    sample = (np.arange(SLOTS) < population.learners["courses_enrolled_count"][:, None]) & matured[:, None]
    if driver.kind == "own":
        row, unit = OWN_ROWS[name]
        value = population.rows[row] / unit
    else:
        value = (population.design if driver.kind == "design" else population.course_behaviour)[driver.column]
    if driver.sample == "not dropped":
        sample = sample & stayed(population)
    elif driver.sample == "has a first deadline":
        sample = sample & population.courses.has_deadlines[population.taken_course]
    elif driver.sample == "share > 0":
        sample = sample & (value > 0)
    return value, sample & ~np.isnan(value)


# Interventions


def intervene(population: Population, name: str, value: np.ndarray) -> np.ndarray:
    """True probabilities when driver `name` is set to `value`, with its consequences; shaped like its values."""
    driver = BY_NAME[name]
    if driver.kind == "program":
        learners = _set_program(population, driver, value)
        rows = behave(population, learners) if name == "open_completion" else population.rows
        return expit(logit(population, learners, rows | population.design | population.course_behaviour))
    if driver.kind == "own":
        changed = _set_own(population, name, value)
    elif driver.kind == "course":
        changed = {driver.column: value}
    else:
        changed = _set_design(population, driver, value)
    kept = stayed(population)
    change = np.zeros(value.shape)
    for other in DRIVERS:
        row = OWN_ROWS[other.name][0] if other.kind == "own" else other.column
        if other.kind != "program" and population.solved.coefficient[other.name] and row in changed:
            after, before = (term(population, other, rows, kept) for rows in (changed, population.all_rows))
            change += after - before
    return expit(population.logit[:, None] + change)


def _set_program(population: Population, driver: Driver, value: np.ndarray) -> dict[str, np.ndarray]:
    learners, noise = dict(population.learners), population.noise
    m, count = learners["motivation"], learners["courses_enrolled_count"]
    learners[driver.column] = value
    early, late = drop_rates(m, count)
    if driver.name == "stackable_enrolled":
        learners["has_stackable_completion"] = value * (noise["stackable_completed"] < completion_rate(m))
    elif driver.name == "stackable_completed":
        enrolled, completed = stackable_rate(m), completion_rate(m)
        among_others = enrolled * (1 - completed) / (1 - enrolled * completed)
        was = population.learners["has_stackable_completion"]
        without = np.where(was, noise["redraw"] < among_others, learners["has_stackable_enrollment"])
        learners["has_stackable_enrollment"] = np.where(value > 0, 1.0, without)
    elif driver.name == "courses_enrolled":
        early, late = drop_rates(m, value)
        learners |= drops(value, noise["early"] < early, noise["late"] < late)
    elif driver.name == "courses_dropped":
        late_alone = np.where(count == 1, late, late * (1 - early))
        share = late_alone / (late_alone + early * (1 - late))
        is_late = (value >= 2) | ((value == 1) & (noise["late_given_count"] < share))
        changed = value != population.learners["courses_dropped_count"]
        learners["has_drop_after_deadline"] = np.where(changed, is_late, learners["has_drop_after_deadline"])
        learners["early"] = np.where(changed, (value >= 1) & ~(is_late & (value < 2)), learners["early"])
    elif driver.name == "dropped_after_deadline":
        learners |= drops(count, noise["early"] < early, value > 0)
    return learners


def _set_own(population: Population, name: str, value: np.ndarray) -> Rows:
    rows = population.rows
    hours = np.rint(value * 3600)
    given = {
        "first_days_active": {"first_days": value},
        "first_learning_hours": {k: rows[k] for k in ("first_days", "on_time", "days")} | {"first_seconds": hours},
        "first_on_time": {k: rows[k] for k in ("first_days", "first_seconds")} | {"on_time": value},
        "days_active": {k: rows[k] for k in ("first_days", "first_seconds", "on_time")} | {"days": value},
        "learning_hours": dict(rows) | {"seconds": hours},
        "grade_achieved": dict(rows) | {"grade": value},
        "forum_days": dict(rows) | {"forum": value},
    }[name]
    return behave(population, population.learners, given)


def _set_design(population: Population, driver: Driver, value: np.ndarray) -> Rows:
    taken, design = population.taken_course, population.design
    kind = {"has_staff_graded": course.STAFF, "has_peer_graded": course.PEER, "has_quiz": course.QUIZ}.get(driver.name)
    if kind is not None or driver.name == "has_hands_on":
        mix = population.courses.mix
        present = mix.present[taken].copy()
        if kind is not None:
            present[..., kind] = value > 0
        else:
            for member in course.MEMBERS:
                own = present[..., member]
                present[..., member] = (value > 0) & np.where(
                    design["has_hands_on"] > 0, own, mix.present[_donors(population)[taken], member]
                )
        shares = course.grade_shares(
            course.GradeMix(present, mix.peer[taken], mix.quiz[taken], mix.staff[taken], mix.split[taken])
        )
        return {
            "has_staff_graded": present[..., course.STAFF].astype(float),
            "has_peer_graded": present[..., course.PEER].astype(float),
            "has_quiz": present[..., course.QUIZ].astype(float),
            "has_hands_on": present[..., list(course.MEMBERS)].any(axis=-1).astype(float),
            "staff_graded_weight_share": shares[..., course.STAFF],
            "peer_graded_weight_share": shares[..., course.PEER],
            "quiz_weight_share": shares[..., course.QUIZ],
        }
    shares = ("staff_graded_weight_share", "peer_graded_weight_share", "quiz_weight_share")
    if driver.column in shares:
        scale = (1 - value) / np.maximum(1 - design[driver.column], 1e-9)
        return {name: value if name == driver.column else design[name] * scale for name in shares}
    rates = population.solved.exchange.get(driver.column, {})
    moved = value - design[driver.column]
    return {driver.column: value} | {name: design[name] + rate * moved for name, rate in rates.items()}


def _donors(population: Population) -> np.ndarray:
    """For each course, one of its program with hands-on work and, if there is one, the same use of quizzes."""
    designs, present = population.courses.designs, population.courses.mix.present
    rng = np.random.default_rng(population.seed)
    hands_on = present[:, list(course.MEMBERS)].any(axis=1)
    donors = np.arange(len(designs))
    for c in np.flatnonzero(~hands_on & (designs.role == course.FIRST_TERM)):
        pool = np.flatnonzero(hands_on & (designs.program == designs.program[c]) & (designs.role == course.FIRST_TERM))
        same = (present[pool][:, [course.QUIZ, course.PLUGIN]] == present[c, [course.QUIZ, course.PLUGIN]]).all(axis=1)
        alike = pool[same]
        donors[c] = rng.choice(alike if len(alike) else pool)
    return donors


# The estimand


def percent(alpha: float, low: float, high: float, mean_outcome: float, mean_driver: float) -> float:
    """The report's metric: 100 × change from low to high, relative to the prediction at low."""
    return 100 * alpha * (high - low) / (mean_outcome + alpha * (low - mean_driver))


def estimand(
    populations: Sequence[Population], name: str, seed: int = 0, *, contrast: bool = False
) -> dict[str, float]:
    """Planted percent of a driver, its naive percent and, on request, the contrast E[p | high] / E[p | low] − 1."""
    driver = BY_NAME[name]
    cells = [(p, *values(p, name)) for p in populations]
    pooled = np.concatenate([value[sample] for _, value, sample in cells])
    mean = float(pooled.mean())
    reference = 0.0 if driver.is_binary else (1.0 if driver.name == "courses_enrolled" else mean)
    rng = np.random.default_rng(seed)
    covariance = outcome = naive = low = high = 0.0
    for population, value, sample in cells:
        permuted = value.copy()
        permuted[sample] = rng.permutation(value[sample])
        p = np.broadcast_to(population.probability.reshape(-1, *[1] * (value.ndim - 1)), value.shape)[sample]
        gain = intervene(population, name, permuted) - intervene(population, name, np.full(value.shape, reference))
        covariance += ((permuted - mean) * gain)[sample].sum()
        naive += (value[sample] - mean) @ p
        outcome += p.sum()
        if contrast:
            low += intervene(population, name, np.full(value.shape, driver.low))[sample].sum()
            high += intervene(population, name, np.full(value.shape, driver.high))[sample].sum()
    variance = ((pooled - mean) ** 2).sum()
    n = len(pooled)
    result = {
        "planted": percent(covariance / variance, driver.low, driver.high, outcome / n, mean),
        "naive": percent(naive / variance, driver.low, driver.high, outcome / n, mean),
    }
    return result | ({"contrast": 100 * (high / low - 1)} if contrast else {})
