"""Variants of what is planted about skills: worlds in which the skill models' assumptions are harder to meet.

hidden   half of the variance of degree learners' general ability is noise that no background tells, so that
         background explains the other half; abler learners choose harder open courses by all of it. Grades, first
         courses and retention stay as they are: only skills follow the new ability.
shock    what a course asks of a skill is harder or easier than its level says: a shift of all its questions of the
         skill. Skill checks, which have no level, are not shifted.
chosen   open courses, and those of later terms, are chosen by the ability in the skills that they teach, not by
         the general one: abler learners choose higher levels, and beyond that each course draws learners who are
         more or less able in each of its skills, by a shift of random sign.
growth   abilities move between courses: of what a completed course brought a part is forgotten, and each learner
         grows at a rate of their own. An answer uses the ability on its day.
"""

from typing import Any

import numpy as np

from dagster_project.simulate.history import course_level, harder
from dagster_project.simulate.population import Population

HIDDEN, SHOCK, CHOSEN, GROWTH = VARIANTS = ("hidden", "shock", "chosen", "growth")
HIDDEN_SHARE = 0.5  # of the variance of general ability
SHOCK_DEVIATION = 0.4  # of difficulty, by course × skill
TAKERS_SHIFT = 0.35  # mean ability of a course's takers beyond what its level draws, in sds, up or down
TILT = 1.6  # of the choice of open courses, for a shift of 1: learners take several, and choose by two skills
COMMON = 0.49  # correlation of two skills
FORGOTTEN = 0.5  # of a gain
FORGETTING_HALF_LIFE = 365.0  # days
GROWTH_MEAN, GROWTH_DEVIATION = 0.05, 0.1  # sds a year, over learners


def general_ability(population: Population, others: np.ndarray) -> np.ndarray:
    """What skills have in common, (learners + open learners,); of the latter, `others`, no background tells it."""
    known = population.learners["ability"]
    if population.skill_variant == HIDDEN:
        noise = np.random.default_rng([population.seed, 25]).standard_normal(len(known))
        known = np.sqrt(1 - HIDDEN_SHARE) * known + np.sqrt(HIDDEN_SHARE) * noise
    return np.concatenate([known, others])


def course_shocks(population: Population) -> np.ndarray:
    """Shift of the difficulty of a course's questions, (courses, 2) by its skills."""
    shape = (len(population.courses), 2)
    if population.skill_variant != SHOCK:
        return np.zeros(shape)
    return np.random.default_rng([population.seed, 26]).normal(0, SHOCK_DEVIATION, shape)


def takers_shifts(population: Population) -> np.ndarray:
    """By how much abler its takers are than those of other courses of its level, (courses, 2) by its skills."""
    shape = (len(population.courses), 2)
    if population.skill_variant != CHOSEN:
        return np.zeros(shape)
    return np.random.default_rng([population.seed, 27]).choice([-TAKERS_SHIFT, TAKERS_SHIFT], shape)


def liking(population: Population, theta: np.ndarray, course_skills: np.ndarray, courses: np.ndarray) -> np.ndarray:
    """How much learners like courses for their skills.

    Args:
        theta: abilities (learners, skills).
        course_skills: (courses, 2).
        courses: among which to choose, (learners or 1, choices).
    """
    own = theta[np.arange(len(theta))[:, None, None], course_skills[courses]]
    # Skills go together: what moves one moves the other, which is taken off.
    tilt = TILT * takers_shifts(population) @ np.linalg.inv([[1, COMMON], [COMMON, 1]])
    return harder(own.mean(axis=-1), course_level(population)[courses]) + (own * tilt[courses]).sum(axis=-1)


def growth_rates(population: Population, people: int) -> np.ndarray:
    """Growth in every skill beside courses, (learners + open learners,), in sds a year."""
    if population.skill_variant != GROWTH:
        return np.zeros(people)
    return np.random.default_rng([population.seed, 28]).normal(GROWTH_MEAN, GROWTH_DEVIATION, people)


def describe_variant(population: Population) -> dict[str, Any]:
    """Which variant the truth is of, and what it plants, arrays by course × its skills; nothing without a variant."""
    name = population.skill_variant
    planted: dict[str | None, dict[str, Any]] = {
        HIDDEN: {"hidden_share_of_general_ability": HIDDEN_SHARE},
        SHOCK: {"course_shocks": course_shocks(population)},
        CHOSEN: {"takers_shifts": takers_shifts(population)},
        GROWTH: {
            "forgotten_part_of_gains": FORGOTTEN,
            "forgetting_half_life_days": FORGETTING_HALF_LIFE,
            "growth_a_year": {"mean": GROWTH_MEAN, "standard_deviation": GROWTH_DEVIATION},
        },
    }
    return {"skill_variant": name, **planted[name]} if name else {}
