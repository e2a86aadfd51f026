"""Abilities by item response theory, benchmarks of organizations, gains of courses: skill by skill, from the marts.

The models and their papers are in `dagster_project/stats`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dagster_project.analyses.skills.measures import Benchmarks, measure
from dagster_project.analyses.skills.scales import (
    Choices,
    Skill,
    bring_up_to_date,
    read_people,
    read_skill,
    skills_with_answers,
)
from dagster_project.analyses.tables import CONTRACTS
from dagster_project.base.threads import in_order
from dagster_project.settings import Settings
from dagster_project.stats.one_thread import one_thread_for_algebra
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


TABLES = (
    "analytics.skill_scales",
    "analytics.skill_items",
    "analytics.skill_courses",
    "analytics.skill_abilities",
    "analytics.skill_growth",
    "analytics.skill_course_gains",
    "analytics.skill_benchmarks",
    "analytics.skill_benchmark_members",
)
READS = (
    "marts.mart_skill_response",
    "marts.mart_organization_member",
    "core.dim_course",
    "core.dim_learner",
    "core.fct_course_enrollment",
    "core.dim_organization",
    "core.dim_source",
    "features.feature_learner_languages",
    "features.feature_completed_skill_courses",
)


def analyse_skills(store: Warehouse, settings: Settings, say: Callable[[str], None]) -> dict[str, list[pd.DataFrame]]:
    """Everything about a skill from one look at its answers; skills side by side.

    Returns:
        By table, one frame a skill, each with some of the table's columns.
    """
    store.restore([CONTRACTS["analytics.skill_benchmarks"], CONTRACTS["analytics.skill_benchmark_members"]])
    frames: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    with store.held_open(), one_thread_for_algebra():
        people = read_people(store)
        benchmarks = Benchmarks.read(store)
        choices = Choices(store)

        def work(skill: Skill) -> tuple[Skill, dict[str, pd.DataFrame], str]:
            answers = read_skill(store, skill, people.level_of_course)
            stored = bring_up_to_date(settings, skill, answers, people, choices)
            return skill, *measure(skill, answers, stored, people, benchmarks, settings.minimum_group_size)

        pieces = ((skill,) for skill in skills_with_answers(store))
        for skill, tables, told in in_order(work, pieces, settings.threads):
            say(f"{skill.skill_key}: {told}")
            for table, frame in tables.items():
                frames[table].append(frame)
    return frames
