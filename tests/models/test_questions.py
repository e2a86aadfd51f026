"""The questions of docs/questions.md, as they stand there, on a small university."""

import re
from datetime import date, datetime

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from dagster_project.settings import REPOSITORY
from tests.models.compiled_models import CompiledModels
from tests.models.made_campus import make_campus

TEXT = (REPOSITORY / "docs" / "questions.md").read_text()
QUESTIONS = dict(re.findall(r"^## (.+?)$.*?```sql\n(.+?)```", TEXT, re.DOTALL | re.MULTILINE))
SCHEMAS = {"reporting", "learners"}
LEARNER = "campus:l01"


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Rows by question, as dictionaries; groups of two learners are large enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNING_WAREHOUSE_MINIMUM_GROUP_SIZE", "2")
        home = tmp_path_factory.mktemp("questions")
        models = CompiledModels(home, {"campus": make_campus()})
    with duckdb.connect(str(home / "build.duckdb")) as connection:  # what the statistics would have written
        _insert(
            connection,
            "analytics.at_risk_scores",
            {"source": "campus", "outcome": "failed_or_withdrawn", "enrollment_key": f"{LEARNER}:msc-algebra:msc-24f"}
            | {"learner_key": LEARNER, "program_key": "campus:msc", "course_key": "campus:msc-algebra"}
            | {"probability": 0.8, "band": "high", "is_held_out": False, "as_of_on": date(2026, 3, 1)}
            | {"scored_on": date(2026, 3, 2), "scored_at": datetime(2026, 3, 2)},
        )
        _insert(
            connection,
            "analytics.skill_benchmarks",
            {"source": "campus", "organization_key": "campus:acme", "skill_key": "campus:sql", "is_shown": True}
            | {"comparison": "industry", "comparison_label": "retail", "organization_percentile": 60.0},
        )
    with models.built() as connection:
        yield {
            question: [
                dict(zip((name for name, *_ in cursor.description), row, strict=True)) for row in cursor.fetchall()
            ]
            for question, sql in QUESTIONS.items()
            for cursor in (connection.execute(sql),)
        }


def _insert(connection: duckdb.DuckDBPyConnection, table: str, row: dict) -> None:
    marks = ", ".join("?" for _ in row)
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))


def test_there_are_ten():
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_is_one_statement_over_reporting_and_learners_that_joins_no_names(question):
    (statement,) = sqlglot.parse(QUESTIONS[question], dialect="duckdb")
    own = {cte.alias for cte in statement.find_all(exp.CTE)}
    assert {table.db for table in statement.find_all(exp.Table) if table.name not in own} <= SCHEMAS
    joined = [column.name for join in statement.find_all(exp.Join) for column in join.find_all(exp.Column)]
    assert all(name.endswith("_key") for name in joined)


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_has_an_answer(answers, question):
    assert answers[question]


def test_retention_of_a_program_by_cohort(answers):
    """bsc: l00, l02 … l22, msc: l01, l03 … l23. Those divisible by 3 begin in 25f, whose year is not over: 8 of each
    are followed. Of msc all are there a year later; 1 of 8 not at most, 12.5 %, is ">= 80 %". Of bsc 4 are (not l04,
    l08, l16, l20), which with the sum of both programs would give that away.
    """
    rows = {(row["program_name"], row["first_term_name"]): row for row in answers["Retention by program and cohort"]}
    assert rows["BSC", "bsc-24f"]["starter_count"] == 8
    assert rows["BSC", "bsc-24f"]["withheld_because"] == "retained: would give away a small group"
    assert rows["MSC", "msc-24f"]["retained_share_told"] == ">= 80 %"
    assert rows["BSC", "bsc-25f"]["starter_count"] == 4
    assert rows["BSC", "bsc-25f"]["retained_share_told"] is None


def test_whom_to_call(answers):
    (row,) = answers["Whom to call"]
    assert (row["call_order"], row["learner_key"], row["program_name"]) == (1, LEARNER, "MSC")
