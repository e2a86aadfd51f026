"""Skills, questions and answers with known abilities: what the skill models have to recover.

Dichotomous questions follow a 2PL model, P(right) = logistic(a (theta − b)); questions with partial credit a graded
response model with three ordered thresholds. Abler learners choose harder open courses; skill checks and courses of
neighbouring levels bridge them. A completed course adds its planted gain to each of its skills; some gains are zero.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from dagster_project.simulate.courses import PRACTICE, QUIZ, Courses
from dagster_project.simulate.history import CHECKS, course_level
from dagster_project.simulate.population import Population
from dagster_project.simulate.tables import course_ids
from dagster_project.simulate.variants import course_shocks, describe_variant, general_ability

# skill, competency, domain
SKILLS = (
    ("Python", "Programming", "Technology"),
    ("SQL", "Programming", "Technology"),
    ("Machine Learning", "Data Science", "Technology"),
    ("Statistics", "Data Science", "Technology"),
    ("Data Visualisation", "Data Science", "Technology"),
    ("Cloud Computing", "Infrastructure", "Technology"),
    ("Accounting", "Finance", "Business"),
    ("Corporate Finance", "Finance", "Business"),
    ("Marketing Strategy", "Marketing", "Business"),
    ("Project Management", "Management", "Business"),
    ("Leadership", "Management", "Business"),
    ("Epidemiology", "Public Health", "Health"),
)
QUESTIONS = 8  # a course
CHECK_QUESTIONS = 30  # a skill check: half in form A, half in form B
ITEMS_WITH_QUESTIONS = 2


@dataclass(frozen=True)
class Bank:
    """Questions: course, item (row of the course's item columns), skill, and their true parameters."""

    course: np.ndarray
    item: np.ndarray
    skill: np.ndarray
    slope: np.ndarray
    difficulty: np.ndarray
    is_graded: np.ndarray  # partial credit 0 … 3, with thresholds difficulty − 0.8, difficulty, difficulty + 0.8
    course_skills: np.ndarray  # (courses, 2)
    gain: np.ndarray  # (courses, 2) planted gain of a completed course

    def __len__(self) -> int:
        return len(self.course)

    @cached_property
    def first(self) -> np.ndarray:
        """First question of each course and, behind the last, the end; questions lie by course."""
        return np.searchsorted(self.course, np.arange(len(self.course_skills) + 1))


def bank(population: Population) -> Bank:
    """Questions of all courses with quizzes or practice, and the skills that courses teach."""
    rng = np.random.default_rng([population.seed, 7])
    courses: Courses = population.courses
    n = len(courses)
    base = np.where(courses.designs.program >= 0, courses.designs.program, np.arange(n)) % len(SKILLS)
    step = rng.integers(1, 4, n)
    skills = np.stack([base, (base + step) % len(SKILLS)], axis=1)
    gain = np.where(rng.random((n, 2)) < 0.35, 0.0, rng.uniform(0.1, 0.6, (n, 2)))
    kind = courses.item_kind
    usable = (kind == PRACTICE) & ~courses.item_is_graded | (kind == QUIZ)
    parts = []
    for c in range(n):
        items = np.flatnonzero(usable[courses.item_start[c] : courses.item_start[c + 1]]) + courses.item_start[c]
        if len(items):
            chosen = items[np.linspace(0, len(items) - 1, min(ITEMS_WITH_QUESTIONS, len(items))).astype(int)]
            parts.append(np.stack([np.full(QUESTIONS, c), np.resize(chosen, QUESTIONS)]))
    of_course, item = np.concatenate(parts, axis=1)
    order = np.lexsort((item, of_course))
    of_course, item = of_course[order], item[order]
    m = len(of_course)
    level = course_level(population)[of_course]
    which = rng.integers(0, 2, m)
    return Bank(
        of_course,
        item,
        skills[of_course, which],
        np.exp(rng.normal(0.1, 0.3, m)),
        (level - 2) * 0.8 + rng.normal(0, 0.7, m) + course_shocks(population)[of_course, which],
        rng.random(m) < 0.2,
        skills,
        gain,
    )


@dataclass(frozen=True)
class Checks:
    """Skill checks: one a skill, two forms of different questions."""

    slope: np.ndarray  # (skills, CHECK_QUESTIONS)
    difficulty: np.ndarray


def checks(population: Population) -> Checks:
    """Questions of the skill checks, over the whole range of difficulty."""
    rng = np.random.default_rng([population.seed, 8])
    shape = (CHECKS, CHECK_QUESTIONS)
    return Checks(np.exp(rng.normal(0.15, 0.25, shape)), rng.normal(0, 1.1, shape))


def abilities(population: Population, others: np.ndarray) -> np.ndarray:
    """Abilities before any course, (learners + open learners, skills): a general part and one of the skill's own.

    Args:
        others: general ability of the learners of open content only.
    """
    rng = np.random.default_rng([population.seed, 9])
    general = general_ability(population, others)
    return 0.7 * general[:, None] + np.sqrt(1 - 0.49) * rng.standard_normal((len(general), len(SKILLS)))


def score(
    rng: np.random.Generator, theta: np.ndarray, slope: np.ndarray, difficulty: np.ndarray, is_graded: np.ndarray
) -> np.ndarray:
    """Scores: 0 or 1, of partial-credit questions 0 … 3."""
    chance = rng.random(len(theta))
    right = (chance < expit(slope * (theta - difficulty))).astype(np.int64)
    steps = sum((chance < expit(slope * (theta - difficulty - d))).astype(np.int64) for d in (-0.8, 0.0, 0.8))
    return np.where(is_graded, steps, right)


def describe(population: Population) -> dict[str, Any]:
    """The planted truth about skills: parameters by question, gain by course and skill, and how answers come about."""
    questions, forms = bank(population), checks(population)
    ids = course_ids(population)
    known = {
        f"{ids[c]}-q{number:02d}": {
            "skill": f"S{s + 1:02d}",
            "slope": round(float(a), 6),
            "difficulty": round(float(b), 6),
            "thresholds": [-0.8, 0.0, 0.8] if graded else None,
        }
        for c, number, s, a, b, graded in zip(
            questions.course,
            within_course(questions),
            questions.skill,
            questions.slope,
            questions.difficulty,
            questions.is_graded,
            strict=True,
        )
    }
    known |= {
        f"K{s + 1:02d}-q{q + 1:02d}": {
            "skill": f"S{s + 1:02d}",
            "slope": round(float(forms.slope[s, q]), 6),
            "difficulty": round(float(forms.difficulty[s, q]), 6),
            "thresholds": None,
        }
        for s in range(CHECKS)
        for q in range(CHECK_QUESTIONS)
    }

    def by_course(values: np.ndarray) -> dict[str, dict[str, float]]:
        return {
            str(ids[c]): {f"S{s + 1:02d}": round(float(x), 6) for s, x in zip(skill, value, strict=True)}
            for c, (skill, value) in enumerate(zip(questions.course_skills, values, strict=True))
        }

    variant = {
        name: by_course(value) if isinstance(value, np.ndarray) else value
        for name, value in describe_variant(population).items()
    }
    return {"questions": known, "course_gains": by_course(questions.gain)} | variant


def within_course(questions: Bank) -> np.ndarray:
    """Number of each question within its course, from 1."""
    return np.arange(len(questions)) - questions.first[questions.course] + 1
