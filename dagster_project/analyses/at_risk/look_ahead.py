"""Does a feature know the future? The marts' own SQL is run again on core tables that end on a day, and compared."""

import re
from collections.abc import Mapping

import duckdb

from dagster_project.analyses.at_risk.subjects import COURSES, PROGRAMS, Subject
from dagster_project.base.engine import attach, open_engine
from dagster_project.base.errors import StoreError
from dagster_project.base.sql import literal
from dagster_project.settings import Settings
from dagster_project.stats.risk.backtest import leaking_features

# Before and after the first grades, and in a program's later term; each costs one more computation of a cohort's marts.
CHECKED_WEEKS = {COURSES.name: (2, 6), PROGRAMS.name: (2, 6, 30)}


def _until(columns: str, known_on: str) -> str:
    """Columns that became known on a day of their own; `{day}` is filled in later."""
    return ", ".join(f"case when {known_on} < {{day}} then {x} end as {x}" for x in columns.split())


OUTCOME = _until("outcome outcome_known_on", "outcome_known_on")
# Of the offerings of the cohort, whose table comes first.
ENROLLMENTS = (
    "course_enrollment_key in (select course_enrollment_key from fct_course_enrollment where course_offering_key in "
    "(select course_offering_key from dim_course_offering))"
)
# What was known before the day, of each table that the marts read, as far as it concerns the cohort's learners and
# courses: with the others it would take many times as long. The tables not named hold nothing that a day makes known.
KNOWN = {
    "dim_course_offering": "select * from {table} where {offerings}",
    "fct_course_enrollment": f"""
        select * replace (
            {_until("unregistered_on", "unregistered_on")}, {_until("last_dropped_on", "last_dropped_on")},
            {_until("completed_on", "completed_on")}, {OUTCOME}, {_until("final_grade_share", "outcome_known_on")}
        )
        from {{table}}
        where registered_on < {{day}} and learner_key in (
            select learner_key from {{table}}
            where course_offering_key in (select course_offering_key from dim_course_offering)
        )
    """,
    "fct_course_registration": f"""
        select * replace (
            {_until("unregistered_on", "unregistered_on")}, {_until("returned_on", "returned_on")},
            {_until("completed_on", "completed_on")}
        )
        from {{table}}
        where registered_on < {{day}} and learner_key in (select learner_key from fct_course_enrollment)
    """,
    "fct_program_enrollment": f"""
        select * replace (
            {_until("completed_on", "completed_on")}, {_until("leave_from_on leave_to_on", "leave_from_on")}
        )
        from {{table}}
        where (admitted_on < {{day}} or admitted_on is null) and (
            learner_key in (select learner_key from fct_course_enrollment)
            or learner_key in (select learner_key from cohort)
        )
    """,
    "fct_daily_activity": f"select * from {{table}} where known_on < {{day}} and {ENROLLMENTS}",
    "fct_submission": f"""
        select * replace (
            {_until("score_share score_known_on replaced_score_share", "score_known_on")},
            row_number() over (
                partition by course_enrollment_key, course_item_key order by submitted_on, attempt_number
            ) = 1 as is_first,
            null::boolean as is_scored_last  -- of all that will ever be known
        )
        from {{table}}
        where submitted_on < {{day}} and {ENROLLMENTS}
    """,
    "fct_earlier_enrollment": f"""
        select * replace ({OUTCOME}) from {{table}} where registered_on < {{day}} and {ENROLLMENTS}
    """,
    "fct_support_ticket": "select * from {table} where opened_on < {day}",
    "fct_intervention": "select * from {table} where known_on < {day}",
    "dim_source": "select * replace (least(last_data_on, {day} - 1) as last_data_on) from {table}",
}
FUTURE_DAYS = 56  # what the data do not hold yet cannot leak
# Marts that the features come through are computed again too, from the tables above.
RECOUNTED = {
    "mart_course_week": "course",
    "mart_learner_course": "learner",
    "mart_learner_program": "learner",
    "mart_learner_course_week": "learner",
    "mart_learner_program_week": "learner",
}
OFFERINGS = {
    COURSES.name: "course_offering_key in (select course_offering_key from cohort)",
    # Those of any term of the program in which they had registered by then.
    PROGRAMS.name: """course_offering_key in (
        select enrollment.course_offering_key from build.core.fct_course_enrollment as enrollment
        inner join cohort on enrollment.learner_key = cohort.learner_key
        inner join build.core.dim_program_offering as offering
            on enrollment.course_offering_key = offering.course_offering_key
            and cohort.program_key = offering.program_key
        where enrollment.registered_on < {day}
    )""",
}


_TOUCHED = re.compile(r"\([\w., ]+\) in \(\s*select touched\.[\w., ]+ from touched_of_\w+ as touched\s*\)")
"""How a mart that is built already says of which entities it makes the rows (macro `is_touched`)."""


def of_everybody(sql: str) -> str:
    """The compiled SQL of a mart for all rows, where the run that compiled it made those of touched entities only."""
    return _TOUCHED.sub("true", sql)


def recounted_leaks(
    settings: Settings, subject: Subject, source: str, sql: Mapping[str, str] | None = None
) -> dict[int, list[str]]:
    """Features that change when everything is taken away that was not known before a day.

    The day is that of a checked week of the newest cohort of the source after whose week `FUTURE_DAYS` more are known,
    or else of the newest that has reached it; all cohorts are compared that have a week's end on that day. Whether
    learners were enrolled is compared as well, and "row" stands for those of whom there is a row in one computation
    only.

    Args:
        sql: compiled marts by name; of those not given the SQL that built them last.

    Returns:
        Such features by checked week, none where all are equal; weeks that no cohort has reached are left out.

    Raises:
        StoreError: no run has built these marts.
    """
    with open_engine(settings) as connection:
        attach(connection, settings.build_database, "build")
        compiled = {mart: (sql or {}).get(mart) or _compiled(settings, mart) for mart in RECOUNTED}
        found = {week: _leaks(connection, subject, source, week, compiled) for week in CHECKED_WEEKS[subject.name]}
    return {week: leaks for week, leaks in found.items() if leaks is not None}


def _leaks(
    connection: duckdb.DuckDBPyConnection, subject: Subject, source: str, week: int, compiled: Mapping[str, str]
) -> list[str] | None:
    """Of one checked week; None: no cohort has reached it."""
    mart = subject.mart
    name = mart.partition(".")[2]
    where = f"source = {literal(source)} and week_number = {week}"
    ((day,),) = connection.execute(
        f"select coalesce(max(as_of_on) filter (as_of_on <= last_data_on - {FUTURE_DAYS}), max(as_of_on)) "
        f"from build.{mart} inner join build.core.dim_source using (source) where {where}"
    ).fetchall()
    if day is None:
        return None
    where = f"source = {literal(source)} and as_of_on = date '{day}'"
    connection.execute(f"create or replace temp table cohort as from build.{mart} where {where}")
    tables = {table for text in compiled.values() for table in re.findall(r'"build"\."(\w+)"\."(\w+)"', text)}
    names = {table: f"build.{schema}.{table}" for schema, table in tables if table not in RECOUNTED}
    before = f"date '{day}'"
    offerings = OFFERINGS[subject.name].format(day=before)
    for table in [*KNOWN, *(names.keys() - KNOWN.keys())]:
        query = KNOWN.get(table, "select * from {table}").format(table=names[table], day=before, offerings=offerings)
        connection.execute(f"create or replace temp {'table' if table in KNOWN else 'view'} {table} as {query}")
    for recounted in RECOUNTED:
        query = compiled[recounted].replace(
            f'"build"."marts"."{recounted}"', f"(select * from build.marts.{recounted} where false)"
        )
        query = re.sub(r'"build"\."\w+"\."(\w+)"', r"\1", query)
        connection.execute(f"create or replace temp view {recounted} as {query}")
    features = sorted({column for feature in subject.features for column in feature.columns})
    features = ["is_enrolled", *features]
    columns = ", ".join([subject.key, *features])
    now = connection.execute(f"select {columns} from cohort").df()
    then = connection.execute(f"select {columns} from {name} where {where}").df()
    return leaking_features(now, then, [subject.key], features)


def _compiled(settings: Settings, mart: str) -> str:
    file = settings.compiled_marts_dir / RECOUNTED[mart] / f"{mart}.sql"
    if not file.exists():
        raise StoreError(f"{file} is missing: the SQL of {mart} as last built. Materialize marts/{mart} first")
    return of_everybody(file.read_text())
