"""From suite files to Dagster checks."""

import json

import dagster as dg
import pandas as pd
import pytest

from dagster_project.defs.quality.bridge import EXPECTATIONS, SuiteError, read_suite, suite_checks, validate

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


@pytest.mark.parametrize("path", sorted(EXPECTATIONS.glob("*.json")), ids=lambda path: path.stem)
def test_every_suite_of_the_project_can_become_checks(path):
    suite = read_suite(path)
    names = [spec.name for spec in suite_checks(suite).check_specs]
    assert len(names) == len(set(names)) == len(suite.expectations)


def test_critical_blocks_and_warning_does_not(tmp_path):
    warning = EXPECTATION | {"id": "colour_is_red", "severity": "warning"}
    specs = suite_checks(read_suite(write_suite(tmp_path, EXPECTATION, warning))).check_specs
    assert {spec.name: spec.blocking for spec in specs} == {"colour_is_known": True, "colour_is_red": False}
    assert {spec.key.asset_key for spec in specs} == {dg.AssetKey(["marts", "things"])}


def test_outcomes_add_up_over_batches(tmp_path):
    suite = read_suite(write_suite(tmp_path, EXPECTATION))
    frames = [pd.DataFrame({"colour": ["red", "blue"]}), pd.DataFrame({"colour": ["green", "pink", "red"]})]
    outcome = validate(suite, iter(frames))["colour_is_known"]
    assert (outcome.success, outcome.rows, outcome.unexpected) == (False, 5, 2)
    assert outcome.examples == ["blue", "pink"]


def test_a_column_that_is_not_there_fails_with_the_reason(tmp_path):
    suite = read_suite(write_suite(tmp_path, EXPECTATION))
    outcome = validate(suite, iter([pd.DataFrame({"color": ["red"]})]))["colour_is_known"]
    assert not outcome.success
    assert "colour" in outcome.error


@pytest.mark.parametrize("missing", ["id", "type", "kwargs", "severity", "meta"])
def test_an_incomplete_expectation_is_refused_by_name(tmp_path, missing):
    incomplete = {key: value for key, value in EXPECTATION.items() if key != missing}
    with pytest.raises(SuiteError, match=r"marts\.things\.json, expectation 1: it lacks .*" + missing):
        read_suite(write_suite(tmp_path, incomplete))


def test_a_suite_without_a_schema_in_its_name_is_refused(tmp_path):
    with pytest.raises(SuiteError, match=r"<schema>\.<table>\.json"):
        read_suite(write_suite(tmp_path, EXPECTATION, name="things.json"))
