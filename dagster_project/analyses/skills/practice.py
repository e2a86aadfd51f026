"""What learners should practise and take next in each skill, from what the tables of the skills say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from dagster_project.base.sql import literal
from dagster_project.stats.skills.next_courses import next_courses
from dagster_project.stats.skills.practice import fit_to_ask, next_questions, shrink_slopes
from dagster_project.store.warehouse import BATCH_ROWS, Warehouse

if TYPE_CHECKING:
    import pandas as pd

NEXT_QUESTIONS, NEXT_COURSES = "analytics.skill_next_questions", "analytics.skill_next_courses"
TABLES = (NEXT_QUESTIONS, NEXT_COURSES)
# Learners whose ability is shown, and who answered within the last year of the data.
SERVED = (
    "select source, skill_key, learner_key, ability, std_error, percentile, as_of, bank_version "
    "from analytics.skill_abilities where is_shown and last_answered_on > as_of - interval 365 day"
)
# Courses completed, and those begun within a year that have no outcome yet.
TAKEN = """
select completed.learner_key as learner, completed.course_key as course
from features.feature_completed_skill_courses as completed
inner join served on completed.learner_key = served.learner_key
where completed.skill_key = served.skill_key
union
select enrollments.learner_key, enrollments.course_key
from core.fct_course_enrollment as enrollments
inner join served on enrollments.learner_key = served.learner_key
where
    enrollments.outcome is null and enrollments.unregistered_on is null
    and enrollments.registered_on > served.as_of - interval 365 day
"""
ADMITTED = """
select distinct admitted.learner_key as learner, admitted.course_key as course
from features.feature_admitted_skill_courses as admitted
inner join served on admitted.learner_key = served.learner_key and admitted.skill_key = served.skill_key
"""
ANSWERS = """
select responses.learner_key as learner, responses.question_id as content, responses.category
from marts.mart_skill_response as responses
inner join served on responses.learner_key = served.learner_key and responses.skill_key = served.skill_key
"""
READS = (
    "analytics.skill_abilities",
    "analytics.skill_course_gains",
    "analytics.skill_items",
    "core.dim_course",
    "core.dim_question",
    "core.fct_course_enrollment",
    "features.feature_admitted_skill_courses",
    "features.feature_completed_skill_courses",
    "marts.mart_skill_response",
)
COURSE = {"course_key": "course"}
NAMES = {"learner": "learner_key", "question": "question_key", "course": "course_key"}


def find_next_steps(store: Warehouse, say: Callable[[str], None]) -> dict[str, list[pd.DataFrame]]:
    """Rows of `TABLES`, one frame for each source and skill."""
    served = _query(store, f"{SERVED} order by source, skill_key, learner_key")
    served = served.rename(columns={"learner_key": "learner"})
    items = store.read("analytics.skill_items", where="slope is not null")
    items = items.merge(_versions(store), on="question_key", how="left").sort_values(["skill_key", "question_key"])
    gained = store.read("analytics.skill_course_gains")
    degree = store.read("core.dim_course", ["course_key"], where="program_key is not null")["course_key"]
    gained["is_open"] = ~gained["course_key"].isin(degree)
    frames: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    for _, people in served.groupby(["source", "skill_key"], sort=True):
        source, skill = people["source"].iloc[0], people["skill_key"].iloc[0]
        bank, gains = (frame[frame["skill_key"] == skill].rename(columns=COURSE) for frame in (items, gained))
        answers, taken, admitted = (_of_skill(store, query, source, skill) for query in (ANSWERS, TAKEN, ADMITTED))
        asked = bank[fit_to_ask(bank) & bank["is_newest"].eq(True)].rename(columns={"question_key": "question"})
        found = next_questions(people, shrink_slopes(asked), answers)
        courses = next_courses(people, bank, gains, taken, admitted)
        about = {"source": source, "skill_key": skill} | people[["as_of", "bank_version"]].iloc[0].to_dict()
        for table, rows in ((NEXT_QUESTIONS, found.rows), (NEXT_COURSES, courses)):
            frames[table].append(rows.rename(columns=NAMES).assign(**about))
        shares, placed = found.exposure["share"], courses.loc[courses["course"].notna(), "learner"]
        say(
            f"{skill}: {len(people)} learners, {len(asked)} questions, the most frequent for {shares.max():.0%}; "
            f"{found.information_share:.0%} of the information that there were without a limit; {found.fewer} learners "
            f"have fewer than wanted, {placed.nunique()} a course to take"
        )
    return frames


def _versions(store: Warehouse) -> pd.DataFrame:
    """Of each version of a question: what all versions share, and whether it is the newest."""
    return _query(
        store,
        "select question_key, question_id as content, question_version = "
        "max(question_version) over (partition by source, question_id) as is_newest from core.dim_question",
    )


def _of_skill(store: Warehouse, query: str, source: str, skill: str) -> pd.DataFrame:
    one = f"{SERVED} and source = {literal(source)} and skill_key = {literal(skill)}"
    return _query(store, f"with served as ({one}) {query}", is_coded=True)


def _query(store: Warehouse, query: str, *, is_coded: bool = False) -> pd.DataFrame:
    """Rows of a query; Coded: each distinct text is in memory once."""
    with store.reading("analytics.skill_abilities") as (connection, *_):
        reader = connection.sql(query).to_arrow_reader(BATCH_ROWS)
        return pa.Table.from_batches(reader, schema=reader.schema).to_pandas(strings_to_categorical=is_coded)
