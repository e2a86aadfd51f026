"""Abilities by item response theory, benchmarks of organizations, gains of courses: one table each.

The models and their papers are in `dagster_project/stats`; here marts are read, skill by skill, and tables written.
"""

from collections.abc import Iterator

import dagster as dg
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from dagster_project.base.threads import in_order
from dagster_project.defs.analytics import CONTRACTS, analytics_spec, asset_key
from dagster_project.defs.resources import WRITER_POOL, WarehouseResource
from dagster_project.defs.skills.measures import Benchmarks, measure
from dagster_project.defs.skills.scales import Skill, bring_up_to_date, read_people, read_skill, skills_with_answers
from dagster_project.stats.skills.gap import recommend
from dagster_project.store.frames import to_arrow
from dagster_project.store.warehouse import Warehouse

TABLES = (
    "analytics.skill_scales",
    "analytics.skill_items",
    "analytics.skill_abilities",
    "analytics.skill_course_gains",
    "analytics.skill_benchmarks",
    "analytics.skill_benchmark_members",
)
READS = (
    "marts.mart_skill_response",
    "marts.mart_organization_member",
    "core.dim_course",
    "core.dim_course_skill",
    "core.dim_learner",
    "core.dim_organization",
    "core.dim_source",
    "core.fct_course_enrollment",
)
GAPS = "analytics.skill_gaps"


def write(store: Warehouse, table: str, frames: list[pd.DataFrame]) -> dg.MaterializeResult:
    """Replace a table by frames that have some of its columns; the others are null."""
    contract = CONTRACTS[table]
    rows = pa.concat_tables([to_arrow(frame, contract) for frame in frames or [pd.DataFrame()]])
    count = store.write(table, rows, contract)
    return dg.MaterializeResult(asset_key=asset_key(table), metadata={"dagster/row_count": count})


@dg.multi_asset(specs=[analytics_spec(table, READS) for table in TABLES], pool=WRITER_POOL)
def skills(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.MaterializeResult]:
    """Everything about a skill from one look at its answers; skills side by side."""
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        store.restore([CONTRACTS["analytics.skill_benchmarks"], CONTRACTS["analytics.skill_benchmark_members"]])
        people = read_people(store)
        benchmarks = Benchmarks.read(store)
        frames: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}

        def work(skill: Skill) -> tuple[Skill, dict[str, pd.DataFrame], str]:
            answers = read_skill(store, skill, people.level_of_course)
            stored = bring_up_to_date(settings, skill, answers, people)
            return skill, *measure(skill, answers, stored, people, benchmarks, settings.minimum_group_size)

        pieces = ((skill,) for skill in skills_with_answers(store))
        with threadpool_limits(1):  # matrices are small
            for skill, tables, told in in_order(work, pieces, settings.threads):
                context.log.info(f"{skill.skill_key}: {told}")
                for table, frame in tables.items():
                    frames[table].append(frame)
        for table in TABLES:
            yield write(store, table, frames[table])


# Members of an organization that have completed a course of the skill, and members that are in a course's program.
COMPLETED = """
select
    members.skill_key, members.organization_key as organization, taken.course_key as course,
    count(distinct members.learner_key) as members
from analytics.skill_benchmark_members as members
inner join core.fct_course_enrollment as taken on members.learner_key = taken.learner_key
inner join core.dim_course_skill as teaches
    on taken.course_key = teaches.course_key and members.skill_key = teaches.skill_key
where taken.outcome in ('pass', 'distinction')
group by members.skill_key, members.organization_key, taken.course_key
"""
ADMITTED = """
select
    members.skill_key, members.organization_key as organization, courses.course_key as course,
    count(distinct members.learner_key) as members
from analytics.skill_benchmark_members as members
inner join core.fct_program_enrollment as programs on members.learner_key = programs.learner_key
inner join core.dim_course as courses on programs.program_key = courses.program_key
inner join core.dim_course_skill as teaches
    on courses.course_key = teaches.course_key and members.skill_key = teaches.skill_key
group by members.skill_key, members.organization_key, courses.course_key
"""


@dg.multi_asset(
    specs=[
        analytics_spec(
            GAPS,
            [
                "analytics.skill_benchmarks",
                "analytics.skill_benchmark_members",
                "analytics.skill_course_gains",
                "analytics.skill_items",
                "core.dim_course",
                "core.dim_course_skill",
                "core.fct_course_enrollment",
                "core.fct_program_enrollment",
            ],
        )
    ],
    pool=WRITER_POOL,
)
def skill_gaps(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Courses for organizations below the middle of all, from what the tables of the skills say."""
    with warehouse.writing(context) as settings:
        store = Warehouse(settings)
        names = {"organization_key": "organization", "course_key": "course"}
        benchmarks = store.read("analytics.skill_benchmarks", where="comparison = 'all' and is_shown")
        items = store.read("analytics.skill_items", where="slope is not null")
        items = items.sort_values(["skill_key", "question_key"])  # a mean of floats depends on their order
        gained = store.read("analytics.skill_course_gains")
        degree = store.read("core.dim_course", ["course_key"], where="program_key is not null")["course_key"]
        gained["is_open"] = ~gained["course_key"].isin(degree)
        benchmarks, items, gained = (frame.rename(columns=names) for frame in (benchmarks, items, gained))
        completed, admitted = (
            pa.Table.from_batches(store.batches(query), schema=COUNTED).to_pandas() for query in (COMPLETED, ADMITTED)
        )
        frames = []
        for (source, skill), rows in benchmarks.groupby(["source", "skill_key"], sort=True):
            one = [frame[frame["skill_key"] == skill] for frame in (items, gained, completed, admitted)]
            found = recommend(rows, *one).rename(columns={new: old for old, new in names.items()})
            frames.append(found.assign(source=source, skill_key=skill))
        return write(store, GAPS, frames)


COUNTED = pa.schema(
    [("skill_key", pa.string()), ("organization", pa.string()), ("course", pa.string()), ("members", pa.int64())]
)
