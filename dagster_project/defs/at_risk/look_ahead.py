"""Does a feature know the future? The mart's own SQL is run again on core tables that end on a day, and compared."""

import re
from pathlib import Path

from dagster_project.defs.at_risk.subjects import COURSES
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.stats.risk_backtest import leaking_features
from dagster_project.store.database import attach, literal, open_engine

MART = "mart_learner_course_week"
CHECKED_WEEK = 3
# What was known before the day, of each table that the mart reads. The others hold nothing that a day makes known.
KNOWN = {
    "fct_course_enrollment": "select * replace (case when unregistered_on < {day} then unregistered_on end as "
    "unregistered_on, cast(null as varchar) as outcome, cast(null as date) as outcome_known_on) from {table} "
    "where registered_on < {day}",
    "fct_daily_activity": "select * from {table} where known_on < {day}",
    "fct_submission": "select * replace (case when score_known_on < {day} then score_share end as score_share, "
    "case when score_known_on < {day} then score_known_on end as score_known_on) from {table} "
    "where submitted_on < {day}",
    "fct_earlier_enrollment": "select * replace (case when outcome_known_on < {day} then outcome end as outcome, "
    "case when outcome_known_on < {day} then outcome_known_on end as outcome_known_on) from {table} "
    "where registered_on < {day}",
    "dim_course_offering": "select * from {table} where course_offering_key in "
    "(select course_offering_key from chosen)",
    "mart_course_week": "select * from {table} where as_of_on <= {day} and course_offering_key in "
    "(select course_offering_key from chosen)",
    MART: "select * from {table} where false",
}


def recounted_leaks(settings: Settings, source: str, sql: str | None = None) -> list[str]:
    """Features that change when everything is taken away that was not known before the day of week 3.

    Of the newest cohort of the source that has reached that week.

    Args:
        sql: the compiled mart; the newest one that dbt left when not given.

    Raises:
        FileNotFoundError: dbt has compiled nothing here.
    """
    sql = sql or _compiled()
    with open_engine(settings) as connection:
        attach(connection, settings.build_database, "build")
        day = connection.execute(
            f"select max(as_of_on) from build.marts.{MART} where source = ? and week_number = ?", [source, CHECKED_WEEK]
        ).fetchone()[0]
        if day is None:
            return []
        connection.execute(
            f"create temp table chosen as select distinct course_offering_key from build.marts.{MART} "
            f"where source = {literal(source)} and week_number = {CHECKED_WEEK} and as_of_on = date '{day}'"
        )
        for schema, table in set(re.findall(r'"build"\."(\w+)"\."(\w+)"', sql)):
            name = f"build.{schema}.{table}"
            query = KNOWN.get(table, "select * from {table}").format(table=name, day=f"date '{day}'")
            connection.execute(f"create temp view {table} as {query}")
            sql = sql.replace(f'"build"."{schema}"."{table}"', table)
        features = sorted({column for feature in COURSES.features for column in feature.columns})
        columns = ", ".join(["course_enrollment_key", *(f for f in features if f != "week_number")])
        week = f"week_number = {CHECKED_WEEK} and course_offering_key in (select course_offering_key from chosen)"
        then = connection.execute(f"select {columns} from ({sql}) where {week}").df()
        now = connection.execute(f"select {columns} from build.marts.{MART} where {week}").df()
    return leaking_features(now, then, ["course_enrollment_key"], [f for f in features if f != "week_number"])


def _compiled() -> str:
    files = list((REPOSITORY / "dbt" / "target").glob(f"*/compiled/*/models/marts/learner/{MART}.sql"))
    if not files:
        raise FileNotFoundError(f"dbt has not compiled {MART} in this checkout: run its models in the same run")
    return max(files, key=lambda file: Path(file).stat().st_mtime).read_text()
