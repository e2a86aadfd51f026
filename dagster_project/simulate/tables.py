"""The analysis tables: learner × program and learner × course with drivers, controls and outcome, without events."""

import numpy as np
import pyarrow as pa

from dagster_project.simulate import world
from dagster_project.simulate.drivers import DRIVERS
from dagster_project.simulate.enrollments import Assignments, Enrollments, assignments, first_terms, midpoint
from dagster_project.simulate.population import Population, others, stayed

TICKET_RATE = 0.18


def learner_ids(population: Population) -> np.ndarray:
    """Ids of the degree learners."""
    return np.char.add("L", np.char.zfill((np.arange(len(population)) + 1).astype(str), 7))


def course_ids(population: Population) -> np.ndarray:
    """Ids of the courses; open courses begin with O."""
    number = np.char.zfill((np.arange(len(population.courses)) + 1).astype(str), 4)
    return np.char.add(np.where(population.courses.designs.program >= 0, "C", "O"), number)


def learner_program(population: Population, *, with_probability: bool = False) -> pa.Table:
    """One row per matured learner × program: keys, `is_retained`, drivers and controls of module `drivers`.

    Learners who graduated within their first year have no row.

    `with_probability` adds `true_probability`, for checks against the truth.
    """
    programs, terms, learners = world.programs(), world.terms(), population.learners
    rows = learners["matured"]
    term = learners["first_term"]
    columns = {
        "learner_id": learner_ids(population),
        "program_id": np.array(programs.ids)[learners["program"]],
        "first_term_id": terms.id[term],
        "is_retained": population.retained,
        "region": np.array(list(world.REGIONS))[learners["region"]],
        "education_level": np.array(world.EDUCATION)[learners["education_level"]],
        "employment_status": np.array(world.EMPLOYMENT)[learners["employment_status"]],
        "season": np.array(world.SEASONS)[terms.season[term]],
        "has_support_ticket": has_ticket(population),
        "terms_per_year": programs.terms_per_year[learners["program"]],
        "terms_may_be_missed": programs.terms_may_be_missed[learners["program"]],
        **{n: learners[n] for n in ("age_years", "is_long_time_learner", "terms_since_admitted_count")},
        **{d.column: np.asarray(learners[d.column]) for d in DRIVERS if d.kind == "program"},
    }
    if with_probability:
        columns["true_probability"] = population.probability
    return pa.table({name: pa.array(_plain(value[rows])) for name, value in columns.items()})


def learner_course(population: Population, *, with_probability: bool = False) -> pa.Table:
    """One row per matured learner × first-term course: the columns of `learner_program`, course and behaviour."""
    program = learner_program(population, with_probability=with_probability)
    enrollments = first_terms(population)
    matured = population.learners["matured"][enrollments.learner]
    rows = enrollments.take(matured)
    parents = program.take(pa.array(rows.learner)) if len(rows) else program  # matured learners come first
    has_deadline = population.courses.has_deadlines[rows.course]
    days, hours = np.cumsum(rows.days, axis=1), np.cumsum(rows.seconds, axis=1) / 3600
    taken = np.arange(population.taken_course.shape[1]) < population.learners["courses_enrolled_count"][:, None]
    behaviour = {name: value[taken][matured] for name, value in others(population).items()}
    columns = {
        "course_id": course_ids(population)[rows.course],
        "is_dropped": ~stayed(population)[taken][matured],
        **{name: value[rows.course] for name, value in population.courses.columns.items()},
        **behaviour,
        "days_active": days[:, 2],
        "learning_hours": hours[:, 2],
        "final_grade_percent": rows.grade,
        "midpoint_days_active": days[:, 1],
        "midpoint_learning_hours": hours[:, 1],
        "first_deadline_days_active": np.where(has_deadline, days[:, 0], np.nan),
        "first_deadline_learning_hours": np.where(has_deadline, hours[:, 0], np.nan),
        "is_first_on_time": np.where(has_deadline, rows.first_on_time, np.nan),
        "forum_days": rows.forum_days,
        **_submitted(population, enrollments, matured),
    }
    table = parents
    for name, value in columns.items():
        table = table.append_column(name, pa.array(_plain(value), from_pandas=True))
    return table


def has_ticket(population: Population) -> np.ndarray:
    """Whether a learner opens a support ticket in the first term: with a drop more often."""
    dropped = population.learners["courses_dropped_count"] > 0
    return population.noise["ticket"] < np.where(dropped, 2 * TICKET_RATE, TICKET_RATE)


def assignments_of(population: Population, enrollments: Enrollments) -> Assignments:
    """The on-time hand-ins of the first-term enrollments, the same for tables and files."""
    return assignments(np.random.default_rng([population.seed, 3]), enrollments, population.courses)


def _submitted(population: Population, enrollments: Enrollments, matured: np.ndarray) -> dict[str, np.ndarray]:
    """Weight handed in on time, of what was due up to each point."""
    courses = population.courses
    given = assignments_of(population, enrollments)
    weight, due = courses.item_weight[given.item], courses.item_due_day[given.item]
    weeks = courses.weeks[enrollments.course][given.enrollment]
    shares = {}
    for name, counts in (
        ("first_deadline", due <= world.FIRST_DUE_DAY),
        ("midpoint", due < midpoint(weeks)),
        ("end", due >= 0),
    ):
        total, handed_in = (
            np.bincount(given.enrollment, weight * keep, len(enrollments))
            for keep in (counts, counts & given.is_on_time)
        )
        share = np.divide(handed_in, total, out=np.full(len(enrollments), np.nan), where=total > 0)
        shares[f"{name}_submitted_share"] = share[matured]
    return shares


def _plain(value: np.ndarray) -> np.ndarray:
    """Numbers as they are, text as objects that Arrow takes for strings."""
    return value.astype(object) if value.dtype.kind == "U" else value
