"""What is predicted, for whom, and the rows of the warehouse that tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster_project.base.sql import literal
from dagster_project.stats.risk.features import COURSE_FEATURES, PROGRAM_FEATURES
from dagster_project.stats.risk.models import Feature
from dagster_project.stats.risk.training import LATE, LATE_STEP, Columns
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


LONGEST_COURSE_DAYS = 400  # longer ones are open courses without a term: nobody can fail them by a date
SMALLEST_PEER_GROUP = 20  # smaller offerings are compared with all others of their term
COLUMNS = Columns("peer_group", "learner_key")
TRAINING_WEEKS = f"(week_number <= {LATE} or week_number % {LATE_STEP} = 0)"
MATURED_SHARE = 0.98


@dataclass(frozen=True)
class Subject:
    """An outcome with its rows: learners still enrolled, by week of term.

    Attributes
    ----------
    name : the outcome, as the tables have it
    query : SQL of the rows; every subject has the columns enrollment_key, learner_key, program_key, course_key, term
        (month in which the cohort starts), starts_on, peer_group, week_number, as_of_on, left_share, start_month, y (0,
        1, null while not matured), known_on (day on which y is known) and withdrawal_day
    tables : what the query reads, the mart by week first
    key : the enrollment's column in that mart
    active : SQL that counts those who must be scored in a ``{source}``, straight from the marts: the query of the rows
        and what Python keeps of them are checked by it
    derived : columns among the features and subgroups that the query makes itself
    """

    name: str
    features: tuple[Feature, ...]
    subgroups: tuple[str, ...]
    query: str
    tables: tuple[str, ...]
    key: str
    active: str
    derived: tuple[str, ...] = ()

    def read(self, warehouse: Warehouse, condition: str) -> pd.DataFrame:
        """Rows that meet a condition in SQL; whole cohorts as long as it names source, term and week only.

        By enrollment and week: draws of rows, sums of floats and ties depend on where a row stands, and a table's rows
        stand in no order.
        """

        import pandas as pd
        import pyarrow as pa

        wanted = dict.fromkeys(column for feature in self.features for column in feature.columns)
        wanted |= dict.fromkeys(self.subgroups)
        columns = ", ".join(f"week.{name}" for name in wanted if name not in ("week_number", *self.derived))
        rows = f"select * from ({self.query.format(columns=columns)}) where {condition}"
        query = f"{rows} order by enrollment_key, week_number"
        batches = list(warehouse.batches(query))
        if not batches:
            return pd.DataFrame()
        frame = pa.Table.from_batches(batches).to_pandas()
        for column in ("as_of_on", "starts_on", "known_on"):
            frame[column] = pd.to_datetime(frame[column])
        return frame

    def read_matured(self, warehouse: Warehouse, source: str, most_learners: int) -> pd.DataFrame:
        """Training rows of the cohorts of which every outcome is known; of many learners a part, always the same."""
        learners = _count(
            warehouse, f"select count(distinct learner_key) from {self.tables[0]} where source = {literal(source)}"
        )
        share = min(1.0, most_learners / max(learners, 1))
        condition = f"source = {literal(source)} and {TRAINING_WEEKS}"
        if share < 1:
            condition += f" and substr(md5(learner_key), 1, 6) < '{int(share * 16**6):06x}'"
        rows = self.read(warehouse, condition)
        if rows.empty:
            return rows
        # A source may never tell how a few ended; a cohort of which more is open has not matured.
        has_matured = rows.groupby("term")["y"].transform(lambda y: y.notna().mean()) >= MATURED_SHARE
        rows = rows[has_matured & rows["y"].notna()]
        return rows.astype({"y": int}).reset_index(drop=True)

    def count_active(self, warehouse: Warehouse, source: str) -> int:
        """How many enrollments must be scored, by `active`."""
        return _count(warehouse, self.active.format(source=literal(source)))


def _count(warehouse: Warehouse, query: str) -> int:
    return sum(batch.column(0).to_pylist()[0] for batch in warehouse.batches(query))


COURSES = Subject(
    name="failed_or_withdrawn",
    features=COURSE_FEATURES,
    subgroups=("gender", "age_group", "region", "education_level", "has_disability"),
    tables=("marts.mart_learner_course_week", "marts.mart_learner_course", "marts.mart_course_week"),
    key="course_enrollment_key",
    active=f"""
        select count(distinct week.course_enrollment_key)
        from marts.mart_learner_course_week as week
        inner join core.dim_source as source on week.source = source.source
        where
            week.source = {{source}}
            and week.is_enrolled
            and date_diff('day', week.as_of_on, source.last_data_on) between -1 and 5
            and week.course_offering_key not in (
                select course_offering_key from core.dim_course_offering where length_days > {LONGEST_COURSE_DAYS}
            )
            and week.course_enrollment_key not in (
                select course_enrollment_key from marts.mart_learner_course
                where is_outcome_final and is_failed_or_withdrawn is not null
            )
    """,
    query=f"""
        with sizes as (
            select course_offering_key, max(registered_count) as learner_count
            from marts.mart_course_week
            group by course_offering_key
        ),

        offerings as (
            select
                offering.course_offering_key,
                offering.starts_on,
                strftime(offering.starts_on, '%Y-%m') as term,
                case
                    when sizes.learner_count >= {SMALLEST_PEER_GROUP} then offering.course_offering_key
                    else offering.source || ':' || strftime(offering.starts_on, '%Y-%m')
                end as peer_group
            from core.dim_course_offering as offering
            inner join sizes using (course_offering_key)
            where offering.length_days <= {LONGEST_COURSE_DAYS}
        ),

        ends as (
            select
                course_enrollment_key,
                case when is_outcome_final then cast(is_failed_or_withdrawn as integer) end as y,
                outcome_known_on as known_on,
                unregistered_day as withdrawal_day
            from marts.mart_learner_course
        )

        select
            week.source,
            week.course_enrollment_key as enrollment_key,
            week.learner_key,
            week.program_key,
            week.course_key,
            week.week_number,
            week.as_of_on,
            offerings.term,
            offerings.starts_on,
            offerings.peer_group,
            cast(month(offerings.starts_on) as varchar) as start_month,
            1 - avg(cast(week.is_enrolled as integer)) over (
                partition by offerings.peer_group, week.week_number
            ) as left_share,
            ends.y,
            ends.known_on,
            ends.withdrawal_day,
            coalesce(
                week.age_band,
                cast(10 * floor((year(offerings.starts_on) - week.birth_year) / 10.0) as integer) || 's'
            ) as age_group,
            {{columns}}
        from marts.mart_learner_course_week as week
        inner join offerings using (course_offering_key)
        inner join ends using (course_enrollment_key)
        qualify week.is_enrolled
    """,
    derived=("age_group",),
)

PROGRAMS = Subject(
    name="not_retained",
    features=PROGRAM_FEATURES,
    subgroups=("gender", "age_group", "region", "education_level"),
    tables=("marts.mart_learner_program_week", "marts.mart_learner_program"),
    key="program_enrollment_key",
    active="""
        select count(distinct week.program_enrollment_key)
        from marts.mart_learner_program_week as week
        inner join core.dim_source as source on week.source = source.source
        where
            week.source = {source}
            and week.is_enrolled
            and date_diff('day', week.as_of_on, source.last_data_on) between -1 and 5
            and week.program_enrollment_key not in (
                select program_enrollment_key from marts.mart_learner_program where is_retained is not null
            )
    """,
    query="""
        with ends as (
            select program_enrollment_key, 1 - cast(is_retained as integer) as y
            from marts.mart_learner_program
        )

        select
            week.source,
            week.program_enrollment_key as enrollment_key,
            week.learner_key,
            week.program_key,
            cast(null as varchar) as course_key,
            week.week_number,
            week.as_of_on,
            strftime(term.starts_on, '%Y-%m') as term,
            term.starts_on,
            week.source || ':' || strftime(term.starts_on, '%Y-%m') as peer_group,
            cast(month(term.starts_on) as varchar) as start_month,
            1 - avg(cast(week.is_enrolled as integer)) over (
                partition by week.source, strftime(term.starts_on, '%Y-%m'), week.week_number
            ) as left_share,
            ends.y,
            -- The deadline to drop the courses of the term a year on has passed by then.
            cast(term.starts_on + interval 425 day as date) as known_on,
            cast(null as integer) as withdrawal_day,
            cast(10 * floor(week.age_years / 10) as integer) || 's' as age_group,
            {columns}
        from marts.mart_learner_program_week as week
        inner join core.dim_term as term on week.first_term_key = term.term_key
        inner join ends using (program_enrollment_key)
        qualify week.is_enrolled
    """,
    derived=("age_group",),
)

SUBJECTS = (COURSES, PROGRAMS)
