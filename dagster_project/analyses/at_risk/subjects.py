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


# The vars of dbt, said again: the counts of the active check the models that use them.
LONGEST_COURSE_DAYS = 400
MOST_FOLLOWED_WEEKS = 104
COLUMNS = Columns("peer_group", "learner_key")
ROW_COLUMNS = (
    "source",
    "enrollment_key",
    "learner_key",
    "program_key",
    "course_key",
    "week_number",
    "as_of_on",
    "term",
    "starts_on",
    "peer_group",
    "start_month",
    "left_share",
    "y",
    "known_on",
    "withdrawal_day",
)
TRAINING_WEEKS = f"(week_number <= {LATE} or week_number % {LATE_STEP} = 0)"
MATURED_SHARE = 0.98


@dataclass(frozen=True)
class Subject:
    """An outcome with its rows: learners still enrolled, by week since the start.

    Attributes:
        name: the outcome, as the tables have it
        rows: the model with the rows; every subject has `ROW_COLUMNS` there, and its features and subgroups
        mart: the mart by week that the rows come from
        ends: the mart of the enrollments, which knows how they ended
        key: the enrollment's column in these marts
        active: SQL that counts those who must be scored in a ``{source}``, straight from the marts: the model of the
            rows and what Python keeps of them are checked by it
    """

    name: str
    features: tuple[Feature, ...]
    subgroups: tuple[str, ...]
    rows: str
    mart: str
    ends: str
    key: str
    active: str

    @property
    def tables(self) -> tuple[str, ...]:
        """What is read of the warehouse."""
        return self.rows, self.mart, self.ends

    def read(self, warehouse: Warehouse, condition: str) -> pd.DataFrame:
        """Rows that meet a condition in SQL; whole cohorts as long as it names source, term and week only.

        By enrollment and week: draws of rows, sums of floats and ties depend on where a row stands, and a table's rows
        stand in no order.
        """
        import pandas as pd
        import pyarrow as pa

        wanted = dict.fromkeys(ROW_COLUMNS)
        wanted |= dict.fromkeys(column for feature in self.features for column in feature.columns)
        wanted |= dict.fromkeys(self.subgroups)
        query = f"select {', '.join(wanted)} from {self.rows} where {condition} order by enrollment_key, week_number"
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
            warehouse, f"select count(distinct learner_key) from {self.mart} where source = {literal(source)}"
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
    rows="features.feature_course_weeks",
    mart="marts.mart_learner_course_week",
    ends="marts.mart_learner_course",
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
                select course_offering_key from core.dim_course_offering
                where length_days > {LONGEST_COURSE_DAYS} or length_days is null
            )
            and week.course_enrollment_key not in (
                select course_enrollment_key from marts.mart_learner_course
                where is_outcome_final and is_failed_or_withdrawn is not null
            )
    """,
)

PROGRAMS = Subject(
    name="not_retained",
    features=PROGRAM_FEATURES,
    subgroups=("gender", "age_group", "region", "education_level"),
    rows="features.feature_program_weeks",
    mart="marts.mart_learner_program_week",
    ends="marts.mart_learner_program",
    key="program_enrollment_key",
    # Everybody in a degree program whose first term has begun and of whom it is not known yet whether they stayed, also
    # without a course: admitted, and not graduated, before the last week's end.
    active=f"""
        select count(*)
        from (
            select learner.*, enrollment.completed_on, source.last_data_on, term.starts_on,
                (source.last_data_on + 1 - term.starts_on) // 7 as week_number
            from marts.mart_learner_program as learner
            inner join core.fct_program_enrollment as enrollment
                on learner.program_enrollment_key = enrollment.program_enrollment_key
            inner join core.dim_program as program on learner.program_key = program.program_key
            inner join core.dim_term as term on learner.first_term_key = term.term_key
            inner join core.dim_source as source on learner.source = source.source
            where
                learner.source = {{source}}
                and program.program_type = 'degree'
                and source.last_data_on + 1 >= term.starts_on
                and learner.next_year_state is null
        )
        where
            coalesce(admitted_on < starts_on + cast(7 * week_number as integer), true)
            and coalesce(completed_on >= starts_on + cast(7 * week_number as integer), true)
            and (retention_known_on is not null or week_number <= {MOST_FOLLOWED_WEEKS})
    """,
)

SUBJECTS = (COURSES, PROGRAMS)
