"""What the contracts leave optional may be empty: no model, test or critical expectation asks for it after all."""

from collections.abc import Iterable, Mapping
from datetime import date

import duckdb
import pytest

from dagster_project.analyses.quality.suite import read_suites
from dagster_project.analyses.quality.validation import Relation, validate
from dagster_project.base.sql import literal
from dagster_project.contracts.source import read_contracts
from dagster_project.settings import REPOSITORY
from tests.models.compiled_models import CompiledModels
from tests.models.made_campus import make_campus
from tests.models.made_openedx import make_openedx
from tests.models.made_source import day, make_source
from tests.models.written_moodle import make_moodle
from tests.platforms import written_canvas, written_coursera
from tests.platforms.delivery import raw_rows

pytestmark = pytest.mark.timeout(900)
CONTRACTS = read_contracts(REPOSITORY / "dbt" / "models")
OPTIONAL = [
    (contract.name, table.name, column.name)
    for contract in CONTRACTS.values()
    for table in contract.tables
    for column in table.raw_columns
    if not column.required
]
WAYS = {
    "all rows": "null",
    # Of every column other rows.
    "half of the rows": "case when hash(_record, '{column}') % 2 = 0 then \"{column}\" end",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> CompiledModels:
    oulad = make_source("oulad", seed=1).tables
    oulad["studentVle"] = [
        {**row, "event_date": day(row["code_presentation"], row["date"])} for row in oulad["studentVle"]
    ]
    folder = tmp_path_factory.mktemp("files")
    written_coursera.write(folder / "coursera", written_coursera.with_more())
    written_coursera.write_clicks(folder / "coursera")
    written_canvas.write_both(folder / "canvas")
    made = {"campus": make_campus(), "oulad": oulad, "openedx": make_openedx(), "moodle": make_moodle()}
    made |= {name: raw_rows(name, folder / name, folder / "home") for name in ("coursera", "canvas")}
    return CompiledModels(tmp_path_factory.mktemp("warehouse"), made)


def emptied(columns: Iterable[tuple[str, str, str]], way: str) -> Mapping[tuple[str, str], str]:
    """What to select of the raw tables so that these columns are empty."""
    replaced: dict[tuple[str, str], list[str]] = {}
    for contract, table, column in columns:
        described = next(x for x in CONTRACTS[contract].table(table).columns if x.name == column)
        value, kind = WAYS[way].format(column=column), described.data_type
        if described.required_where:  # rows without a value, as far as the loader lets them in
            other, needs = described.required_where
            value = f"case when {other} = '{needs}' then \"{column}\" else {value} end"
        replaced.setdefault((contract, table), []).append(f'({value})::{kind} as "{column}"')
    return {table: f"* replace ({', '.join(values)})" for table, values in replaced.items()}


def refused(models: CompiledModels, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """What would stop a run: tests with severity error, contracts of models, critical expectations."""
    found = [failure.test for failure in models.failures(connection)]
    for suite in read_suites():
        described = connection.execute(f'describe {suite.schema}."{suite.table}"').fetchall()
        relation = Relation(f'build.{suite.schema}."{suite.table}"', {name: kind for name, kind, *_ in described}, ())
        outcomes = validate(suite, relation, connection)
        found += [
            f"{suite.schema}.{suite.table}: {expectation.id} ({expectation.notes})"
            for expectation in suite.expectations
            if expectation.severity == "critical" and not outcomes[expectation.id].success
        ]
    return found


def test_the_made_university_fills_every_optional_column_and_nothing_refuses_it(models):
    with models.built() as connection:
        assert refused(models, connection) == []
        filled = {
            place
            for place in OPTIONAL
            if connection.execute(
                f'select count("{place[2]}") from {CONTRACTS[place[0]].schema}."{place[1]}"'
            ).fetchall()
            != [(0,)]
        }
    # The made OULAD of the other tests gives its sites no planned weeks.
    assert set(OPTIONAL) - filled == {("oulad", "vle", "week_from"), ("oulad", "vle", "week_to")}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_refuses_a_delivery_with_every_optional_column_empty(models, way):
    with models.built(emptied(OPTIONAL, way)) as connection:
        assert refused(models, connection) == []


@pytest.mark.slow
@pytest.mark.parametrize("column", OPTIONAL, ids=".".join)
def test_nothing_refuses_a_delivery_with_one_optional_column_empty(models, column):
    with models.built(emptied([column], "all rows")) as connection:
        assert refused(models, connection) == []


# Offerings whose last day is not told

NO_ENDS = [("campus", "course_offerings", "ends_on")]
# What looks beyond the courses of a term: the fingerprint of what a row was made from, and a learner's earlier courses,
# among them open ones: since when a grade without a completion is known nobody can tell where they have no end.
OF_OPEN_COURSES = ("inputs_hash", "earlier_failed_course_count")
OF_A_TERM = {
    "core.dim_course_offering": "term_id <> 'open'",
    "core.fct_course_enrollment": "course_key <> 'campus:intro'",
    "marts.mart_learner_course": "course_key <> 'campus:intro'",
    "marts.mart_course_week": "true",
    "marts.mart_learner_course_week": "true",
    "marts.mart_learner_program": "true",
    "marts.mart_learner_program_week": "true",
}


def test_an_offering_in_a_term_ends_with_it(models):
    """All those of the made university do: without their own last days every row is as with them."""
    found = []
    columns = f"columns(lambda name: name not in ({', '.join(map(literal, OF_OPEN_COURSES))}))"
    for raw in ({}, emptied(NO_ENDS, "all rows")):
        with models.built(raw) as connection:
            found.append(
                {
                    table: connection.execute(
                        f"select {columns} from {table} where source = 'campus' and {condition} order by all"
                    ).fetchall()
                    for table, condition in OF_A_TERM.items()
                }
            )
    told, untold = found
    assert all(told.values())
    for table in OF_A_TERM:
        assert untold[table] == told[table], table


def test_an_offering_in_no_term_goes_on_and_only_completions_are_final(models):
    outcomes = """
        select outcome, is_outcome_final, count(*), min(outcome_known_on), max(outcome_known_on)
        from marts.mart_learner_course where course_key = 'campus:intro' group by all order by all
    """
    with models.built() as connection:
        # It ends in 2027, after the data: others may complete it yet.
        told = [row[:3] for row in connection.execute(outcomes).fetchall()]
        assert told == [("fail", False, 5), ("pass", True, 14), ("withdrawn", False, 5)]
    with models.built(emptied(NO_ENDS, "all rows")) as connection:
        ends = "select distinct ends_on, length_days from core.dim_course_offering where course_key = 'campus:intro'"
        assert connection.execute(ends).fetchall() == [(None, None)]
        # Of 24 learners five dropped it on the 31st day, five have a grade and no completion, of which nobody can tell
        # since when, and the others completed it on the 120th day.
        assert connection.execute(outcomes).fetchall() == [
            ("fail", False, 5, None, None),
            ("pass", True, 14, date(2024, 6, 28), date(2024, 6, 28)),
            ("withdrawn", False, 5, date(2024, 3, 31), date(2024, 3, 31)),
        ]
        # Nobody is warned of failing it.
        weeks = "select count(*) from features.feature_course_weeks where course_key = 'campus:intro'"
        assert connection.execute(weeks).fetchall() == [(0,)]
