"""What is predicted, for whom, and the rows of the warehouse that tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.risk.features import COURSE_FEATURES, PROGRAM_FEATURES
from dagster_project.stats.risk.models import Feature
from dagster_project.stats.risk.rows import Columns, Rows, concatenated, prepare
from dagster_project.stats.risk.training import LATE, LATE_STEP
from dagster_project.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


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
    "y",
    "known_on",
    "withdrawal_day",
)
TRAINING_WEEKS = f"(week_number <= {LATE} or week_number % {LATE_STEP} = 0)"
MATURED_SHARE = 0.98
NEWEST_TERMS, MOST_ROWS_OF_NEWEST, MOST_ROWS_OF_OTHERS = 4, 500_000, 100_000  # of a term in memory; it trains with less
CALLED_AMONG = ("program_key", "peer_group")  # and the week: among whom a team chooses whom to call


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
        """Rows that meet a condition in SQL; whole cohorts as long as it names source, term and week only."""
        # In one order, so that sums of floats are the same.
        batches = list(warehouse.batches(self._query(condition, "enrollment_key, week_number")))
        return _frame(batches)

    def _query(self, condition: str, order: str) -> str:
        wanted = dict.fromkeys(ROW_COLUMNS)
        wanted |= dict.fromkeys(column for feature in self.features for column in feature.columns)
        wanted |= dict.fromkeys(self.subgroups)
        return f"select {', '.join(wanted)} from {self.rows} where {condition} order by {order}"

    def prepared(self, frame: pd.DataFrame) -> Rows:
        """Rows for models of whole cohorts; columns that only became features are left out of what is carried along."""
        rows = prepare(frame, self.features, COLUMNS.cohort)
        words = [feature.column for feature in self.features if feature.kind == "category"]
        kept = [column for column in dict.fromkeys([*ROW_COLUMNS, *words, *self.subgroups]) if column in rows.frame]
        return Rows(rows.matrix, rows.features, rows.frame[kept])

    def matured_terms(self, warehouse: Warehouse, source: str) -> list[str]:
        """Terms of which every outcome is known, oldest first.

        A source may never tell how a few ended; a cohort of which more is open has not matured.
        """
        batches = warehouse.batches(
            f"select term from {self.rows} where source = {literal(source)} and {TRAINING_WEEKS} "
            f"group by term having count(y) >= {MATURED_SHARE} * count(*) order by min(starts_on), term"
        )
        return [term for batch in batches for term in batch.column(0).to_pylist()]

    def read_matured(self, warehouse: Warehouse, source: str) -> Rows | None:
        """Training rows of all matured terms, ranked among everybody, then thinned where a term has very many.

        Memory is bounded by a term. None: no term has matured.
        """
        terms = self.matured_terms(warehouse, source)
        if not terms:
            return None
        condition = f"source = {literal(source)} and {TRAINING_WEEKS} and term in ({', '.join(map(literal, terms))})"
        parts = []
        for term, frame in _by_term(warehouse, self._query(condition, "term, enrollment_key, week_number")):
            rows = self.prepared(frame)
            rows = rows.take(rows.frame["y"].notna().to_numpy())
            most = MOST_ROWS_OF_NEWEST if term in terms[-NEWEST_TERMS:] else MOST_ROWS_OF_OTHERS
            parts.append(rows.drawn_by(COLUMNS.learner, most))
        rows = concatenated(parts)
        return Rows(rows.matrix, rows.features, rows.frame.astype({"y": int}))

    def count_active(self, warehouse: Warehouse, source: str) -> int:
        """How many enrollments must be scored, by `active`."""
        return _count(warehouse, self.active.format(source=literal(source)))


def call_shares(frame: pd.DataFrame, settings: Settings) -> np.ndarray:
    """How much of a cohort the team of each row's program can call at once and next, shape (rows, 2)."""
    of_all = (settings.at_risk_high_share, settings.at_risk_medium_share)
    shares = [settings.at_risk_capacity.get(program, of_all) for program in frame["program_key"]]
    return np.array(shares, float).reshape(-1, 2)


def _by_term(warehouse: Warehouse, query: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of a query that is ordered by term, a frame a term."""
    waiting: list[pa.RecordBatch] = []
    for batch in warehouse.batches(query):
        terms = batch["term"].to_numpy(zero_copy_only=False)
        starts = [0, *(np.flatnonzero(terms[1:] != terms[:-1]) + 1)]
        for start, end in zip(starts, [*starts[1:], len(batch)], strict=True):
            part = batch.slice(start, end - start)
            if waiting and waiting[0]["term"][0] != part["term"][0]:
                yield waiting[0]["term"][0].as_py(), _frame(waiting)
                waiting = []
            waiting.append(part)
    if waiting:
        yield waiting[0]["term"][0].as_py(), _frame(waiting)


def _frame(batches: list[pa.RecordBatch]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not batches:
        return pd.DataFrame()
    frame = pa.Table.from_batches(batches).to_pandas()
    for column in ("as_of_on", "starts_on", "known_on"):
        frame[column] = pd.to_datetime(frame[column])
    return frame


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
