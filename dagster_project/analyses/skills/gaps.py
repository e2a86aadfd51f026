"""Courses for organizations below the middle of all, from what the tables of the skills say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dagster_project.stats.skills.gap import recommend
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd

GAPS = "analytics.skill_gaps"
# Of each organization how many members have completed a course of the skill, or are in a program of the course.
MEMBERS = """
select
    members.skill_key, members.organization_key as organization, courses.course_key as course,
    count(distinct members.learner_key) as members
from analytics.skill_benchmark_members as members
inner join {courses} as courses
    on members.learner_key = courses.learner_key and members.skill_key = courses.skill_key
group by members.skill_key, members.organization_key, courses.course_key
"""
COMPLETED, ADMITTED = "features.feature_completed_skill_courses", "features.feature_admitted_skill_courses"
READS = (
    "analytics.skill_benchmarks",
    "analytics.skill_benchmark_members",
    "analytics.skill_course_gains",
    "analytics.skill_items",
    "core.dim_course",
    COMPLETED,
    ADMITTED,
)
COUNTED = pa.schema(
    [("skill_key", pa.string()), ("organization", pa.string()), ("course", pa.string()), ("members", pa.int64())]
)


def find_gaps(store: Warehouse) -> list[pd.DataFrame]:
    """Rows of `GAPS`, one frame for each source and skill."""
    names = {"organization_key": "organization", "course_key": "course"}
    benchmarks = store.read("analytics.skill_benchmarks", where="comparison = 'all' and is_shown")
    items = store.read("analytics.skill_items", where="slope is not null")
    items = items.sort_values(["skill_key", "question_key"])  # a mean of floats depends on their order
    gained = store.read("analytics.skill_course_gains")
    degree = store.read("core.dim_course", ["course_key"], where="program_key is not null")["course_key"]
    gained["is_open"] = ~gained["course_key"].isin(degree)
    benchmarks, items, gained = (frame.rename(columns=names) for frame in (benchmarks, items, gained))
    completed, admitted = (
        pa.Table.from_batches(store.batches(MEMBERS.format(courses=courses)), schema=COUNTED).to_pandas()
        for courses in (COMPLETED, ADMITTED)
    )
    frames = []
    for _, rows in benchmarks.groupby(["source", "skill_key"], sort=True):
        source, skill = rows["source"].iloc[0], rows["skill_key"].iloc[0]
        one = [frame[frame["skill_key"] == skill] for frame in (items, gained, completed, admitted)]
        found = recommend(rows, *one).rename(columns={new: old for old, new in names.items()})
        frames.append(found.assign(source=source, skill_key=skill))
    return frames
