"""From suite files to Dagster checks."""

import json
import math

import dagster as dg
import duckdb
import pytest

from dagster_project.analyses.quality import validation
from dagster_project.analyses.quality.suite import EXPECTATIONS, SuiteError, read_suite, read_suites
from dagster_project.analyses.quality.validation import Relation, validate
from dagster_project.defs.quality import bridge
from dagster_project.defs.quality.bridge import findings_of, steps_of_suites, suite_checks
from dagster_project.defs.resources import WarehouseResource
from dagster_project.report.data_docs import write_pages
from dagster_project.store.findings import contract, is_refused, page_of, read, record

EXPECTATION = {
    "id": "colour_is_known",
    "type": "expect_column_values_to_be_in_set",
    "kwargs": {"column": "colour", "value_set": ["red", "green"]},
    "severity": "critical",
    "meta": {"notes": "Add the new colour."},
}


def write_suite(folder, *expectations, name="marts.things.json"):
    path = folder / name
    path.write_text(json.dumps({"name": "things", "expectations": expectations}))
    return path


def rule(kind, columns="size", **kwargs):
    named = {"columns": columns} if isinstance(columns, list) else {}
    kwargs |= {} if named or kind.endswith("greater_than_b") else {"column": columns}
    return EXPECTATION | {"id": kind, "type": kind, "kwargs": kwargs} | named


@pytest.fixture(scope="module")
def things():
    """Ten thousand rows and a few that are not as they should be."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table things as
            select
                'uni:' || range as thing_key,
                case range when 7 then 'blue' when 8 then 'pink' when 9 then null else 'red' end as colour,
                case range when 5 then -1.0 when 6 then 'nan'::double when 9 then null else range / 10000 end as size,
                range as first_day,
                case range when 3 then 0 when 4 then null else range + 1 end as last_day,
                case range when 2 then date '1999-12-31' else date '2024-01-01' end as seen_on,
                case range when 1 then timestamp '1999-12-31' else timestamp '2024-01-01' end as opened_at,
                range % 4 = 0 as is_small,
                null::double as nothing,
            from range(10000)
            """
        )
        types = {name: kind for name, kind, *_ in connection.execute("describe things").fetchall()}
        yield Relation("things", types, ("thing_key",)), connection


def outcome_of(things, folder, expectation):
    suite = read_suite(write_suite(folder, expectation))
    return validate(suite, *things)[expectation["id"]]


@pytest.mark.parametrize(
    ("expectation", "unexpected", "keys"),
    [
        (EXPECTATION, 2, {"uni:7", "uni:8"}),
        (rule("expect_column_values_to_be_between", min_value=0, max_value=1), 2, {"uni:5", "uni:6"}),
        (rule("expect_column_values_to_be_between", max_value=0.9999), 1, {"uni:6"}),
        (rule("expect_column_values_to_be_between", max_value=0.9999, strict_max=True), 2, {"uni:6", "uni:9999"}),
        (
            rule("expect_column_values_to_be_between", ["size", "first_day"], min_value=0, max_value=9998),
            3,
            {"uni:5", "uni:6", "uni:9999"},
        ),
        (rule("expect_column_values_to_be_between", "seen_on", min_value="2000-01-01"), 1, {"uni:2"}),
        (rule("expect_column_values_to_be_between", "opened_at", min_value="2000-01-01"), 1, {"uni:1"}),
        (rule("expect_column_values_to_not_be_null", "colour"), 1, {"uni:9"}),
        (rule("expect_column_values_to_match_regex", "colour", regex="^(red|blue)$"), 1, {"uni:8"}),
        (rule("expect_column_value_lengths_to_be_between", "colour", max_value=3), 2, {"uni:7", "uni:8"}),
        (
            rule(
                "expect_column_pair_values_a_to_be_greater_than_b",
                column_A="last_day",
                column_B="first_day",
                ignore_row_if="either_value_is_missing",
            ),
            1,
            {"uni:3"},
        ),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_unexpected_rows_are_counted_exactly_and_named_by_their_keys(things, tmp_path, expectation, unexpected, keys):
    outcome = outcome_of(things, tmp_path, expectation)
    assert (outcome.success, outcome.rows, outcome.unexpected, outcome.error) == (False, 10_000, unexpected, None)
    assert {example["thing_key"] for example in outcome.examples} == keys
    assert all(example.keys() == {"thing_key"} for example in outcome.examples)
    found = things[1].execute(f"select thing_key from ({outcome.query})").fetchall()
    assert {key for (key,) in found} == keys
    assert "pink" not in outcome.query  # Who knows what stands in a wrong column.


@pytest.mark.parametrize(
    ("kind", "column", "observed"),
    [
        ("expect_column_mean_to_be_between", "first_day", 4999.5),
        ("expect_column_mean_to_be_between", "is_small", 0.25),
        ("expect_column_median_to_be_between", "first_day", 4999.5),
        ("expect_column_min_to_be_between", "size", -1.0),
        ("expect_column_max_to_be_between", "size", math.inf),
    ],
)
def test_aggregates_are_those_of_all_rows(things, tmp_path, kind, column, observed):
    outcome = outcome_of(things, tmp_path, rule(kind, column, min_value=observed, max_value=observed))
    assert outcome.success, outcome
    assert list(outcome.observed.values()) == [observed]
    assert not outcome_of(things, tmp_path, rule(kind, column, max_value=-2)).success


@pytest.mark.parametrize(("mostly", "success"), [(0.9997, True), (0.9999, False)])
def test_a_share_of_rows_may_be_unexpected_if_the_suite_says_so(things, tmp_path, mostly, success):
    lenient = rule("expect_column_values_to_be_between", min_value=0, max_value=1, mostly=mostly)
    outcome = outcome_of(things, tmp_path, lenient)
    assert (outcome.success, outcome.unexpected) == (success, 2)


def test_more_distinct_values_than_fit_into_a_frame_are_judged_in_parts(things, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "FRAME_VALUES", 1000)
    outcome = outcome_of(things, tmp_path, rule("expect_column_values_to_match_regex", "thing_key", regex="[0-8]$"))
    assert (outcome.judged, outcome.unexpected, len(outcome.examples)) == (10_000, 1000, validation.EXAMPLES)


@pytest.mark.parametrize(
    ("completed_on", "unexpected"), [("2024-03-01", 0), ("2024-03-02", 0), ("2024-02-29", 1), (None, 0)]
)
def test_who_completes_on_the_day_of_enrolling_has_not_completed_before(completed_on, unexpected):
    suite = read_suite(EXPECTATIONS / "raw_campus.course_enrollments.json")
    rows = "(select timestamp '2024-03-01 18:30:00' as enrolled_at, $day::date as completed_on, 80.0 as final_grade)"
    relation = Relation(
        rows.replace("$day", f"'{completed_on}'" if completed_on else "null"),
        {"enrolled_at": "TIMESTAMP", "completed_on": "DATE", "final_grade": "DOUBLE"},
        (),
    )
    with duckdb.connect() as connection:
        outcome = validate(suite, relation, connection)["completion_follows_enrollment"]
    assert (outcome.success, outcome.unexpected, outcome.error) == (not unexpected, unexpected, None)
    assert outcome.judged == (completed_on is not None)


def test_every_value_of_a_set_must_be_there(things, tmp_path):
    kind = "expect_column_distinct_values_to_contain_set"
    assert outcome_of(things, tmp_path, rule(kind, "colour", value_set=["red", "pink"])).success
    assert not outcome_of(things, tmp_path, rule(kind, "colour", value_set=["red", "brown"])).success


@pytest.mark.parametrize("kind", ["expect_column_values_to_be_between", "expect_column_mean_to_be_between"])
def test_a_column_that_no_source_fills_breaks_no_rule(things, tmp_path, kind):
    outcome = outcome_of(things, tmp_path, rule(kind, "nothing", min_value=0, max_value=1))
    assert (outcome.success, outcome.judged) == (True, 0)


def test_only_sources_that_fill_a_column_have_gaps(tmp_path):
    rows = "(values ('a', 1), ('a', null), ('a', 2), ('b', null)) as t (source, size)"
    gaps = rule("expect_column_values_to_not_be_null") | {"of_filling_sources": True}
    with duckdb.connect() as connection:
        outcome = outcome_of((Relation(rows, {"size": "INTEGER"}, ("source",)), connection), tmp_path, gaps)
    assert (outcome.judged, outcome.unexpected, outcome.examples) == (3, 1, [{"source": "a"}])


def test_a_column_that_is_not_there_fails_with_the_reason(things, tmp_path):
    outcome = outcome_of(things, tmp_path, rule("expect_column_values_to_not_be_null", "color"))
    assert not outcome.success
    assert "no column color; there are: thing_key, colour" in outcome.error


def test_what_was_found_is_written_to_data_docs_with_keys_only(things, tmp_path, settings):
    suite = read_suite(write_suite(tmp_path, EXPECTATION))
    record(settings, {"marts.things": findings_of(suite, validate(suite, *things), things[0], "a-run")})
    write_pages(settings, ["marts.things"], ["marts.things"])
    page = page_of(settings, "marts.things").read_text()
    assert "2 of 9,999 values (0.02 %)" in page
    assert "uni:7" in page
    assert "blue" not in page + str(read(settings))  # a value that nobody expected may be anything


def test_what_was_found_fits_the_contract_of_the_table(things, tmp_path, settings):
    suite = read_suite(write_suite(tmp_path, EXPECTATION))
    (row,) = findings_of(suite, validate(suite, *things), things[0], "a-run")
    assert list(row) == [column.name for column in contract().columns]
    record(settings, {"marts.things": [row]})
    assert read(settings) == [row]


def test_a_run_of_the_checks_says_what_broke_and_leaves_data_docs(tmp_path, settings, monkeypatch):
    settings.build_database.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.things as select 'uni:1' as thing_key, 'pink' as colour")
    table = dg.AssetSpec(dg.AssetKey(["marts", "things"]))
    suite = read_suite(write_suite(tmp_path, EXPECTATION))
    monkeypatch.setattr(bridge, "read_suites", lambda: [suite])
    asset = dg.multi_asset(specs=[table], name="build")(lambda: dg.MaterializeResult(asset_key=table.key))
    result = dg.materialize(
        [asset, suite_checks("checks", [suite])], resources={"warehouse": WarehouseResource()}, raise_on_error=False
    )
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "1 of 1 values (100.00%). Add the new colour." in found.description
    assert "uni:1" in (settings.data_docs_dir / "marts.things.html").read_text()
    assert is_refused(settings, "marts.things")
    (row,) = read(settings)
    assert (row["table_name"], row["unexpected_count"], row["run_id"]) == ("marts.things", 1, result.run_id)


def test_what_one_suite_found_is_kept_where_the_table_of_the_next_cannot_be_read(tmp_path, settings, monkeypatch):
    settings.build_database.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.build_database)) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.things as select 'uni:1' as thing_key, 'pink' as colour")
    specs = [dg.AssetSpec(dg.AssetKey(["marts", name])) for name in ("things", "zebras")]
    suites = [read_suite(write_suite(tmp_path, EXPECTATION, name=f"marts.{x}.json")) for x in ("things", "zebras")]
    monkeypatch.setattr(bridge, "read_suites", lambda: suites)

    @dg.multi_asset(specs=specs, name="build")
    def build():
        for spec in specs:
            yield dg.MaterializeResult(asset_key=spec.key)

    result = dg.materialize(
        [build, suite_checks("checks", suites)], resources={"warehouse": WarehouseResource()}, raise_on_error=False
    )
    assert not result.success
    assert is_refused(settings, "marts.things")


def test_critical_blocks_and_warning_does_not(tmp_path):
    warning = EXPECTATION | {"id": "colour_is_red", "severity": "warning"}
    suite = read_suite(write_suite(tmp_path, EXPECTATION, warning))
    specs = suite_checks("checks", [suite]).check_specs
    assert {spec.name: spec.blocking for spec in specs} == {"colour_is_known": True, "colour_is_red": False}
    assert {spec.key.asset_key for spec in specs} == {dg.AssetKey(["marts", "things"])}


def test_a_table_is_checked_after_the_step_that_writes_it():
    for name, suites in steps_of_suites(read_suites()).items():
        assert len({suite.schema for suite in suites}) == 1, name


@pytest.mark.parametrize("missing", ["id", "type", "kwargs", "severity", "meta"])
def test_an_incomplete_expectation_is_refused_by_name(tmp_path, missing):
    incomplete = {key: value for key, value in EXPECTATION.items() if key != missing}
    with pytest.raises(SuiteError, match=r"marts\.things\.json, expectation 1: it lacks .*" + missing):
        read_suite(write_suite(tmp_path, incomplete))


def test_a_type_that_cannot_be_counted_by_kinds_is_refused_with_those_that_can(tmp_path):
    with pytest.raises(SuiteError, match=r"found type expect_column_stdev.*expected one of .*mean_to_be_between"):
        read_suite(write_suite(tmp_path, rule("expect_column_stdev_to_be_between", max_value=1)))


def test_a_suite_without_a_schema_in_its_name_is_refused(tmp_path):
    with pytest.raises(SuiteError, match=r"<schema>\.<table>\.json"):
        read_suite(write_suite(tmp_path, EXPECTATION, name="things.json"))


def test_suites_are_about_columns_that_are_there():
    """Of raw tables those of the contract, of the others those of the YAML."""
    from dagster_project.contracts.in_use import CONTRACTS
    from dagster_project.defs.transform.assets import ANALYTICS, NODES

    raw = {f"{c.schema}.{t.name}": [x.name for x in t.raw_columns] for c in CONTRACTS.values() for t in c.tables}
    computed = {name: [column.name for column in contract.columns] for name, contract in ANALYTICS.items()}
    columns = raw | computed | {name: list(node["columns"]) for name, node in NODES.items()}
    assert EXPECTATIONS.is_dir()
    unknown = [
        f"{suite.path.name}: {column}"
        for suite in read_suites()
        for expectation in suite.expectations
        for column in expectation.columns
        if column not in columns[f"{suite.schema}.{suite.table}"]
    ]
    assert unknown == []
