"""The dbt command line, built by pure functions."""

import json
from datetime import date, datetime

from dagster_project.defs.partitions import DAILY_EVENTS, rebuild_window
from dagster_project.defs.transform import assets
from dagster_project.defs.transform.assets import build_arguments
from dagster_project.store.plan import Built


def test_changed_dates_inside_the_range_are_not_named_twice():
    window = rebuild_window(date(2014, 1, 1), date(2014, 1, 31), [date(2013, 12, 31), date(2014, 1, 15)])
    assert window == {"from": "2014-01-01", "to": "2014-01-31", "dates": ["2013-12-31"]}


def test_without_a_range_all_changed_dates_are_named_in_order():
    window = rebuild_window(None, None, [date(2014, 2, 1), date(2013, 12, 31)])
    assert window == {"from": None, "to": None, "dates": ["2013-12-31", "2014-02-01"]}


def test_every_source_of_the_run_has_its_own_window():
    rebuild = {"uni_a": rebuild_window(None, None, []), "uni_b": rebuild_window(None, None, [date(2014, 2, 1)])}
    arguments = build_arguments(["campus"], rebuild)
    assert json.loads(arguments[arguments.index("--vars") + 1])["rebuild"] == rebuild


def test_without_windows_dbt_is_told_to_build_everything():
    arguments = build_arguments(["campus"], None)
    assert "rebuild" not in json.loads(arguments[-1])
    assert json.loads(arguments[-1])["contracts"] == ["campus"]
    assert "--full-refresh" in arguments
    assert "--full-refresh" not in build_arguments(["campus"], {})


def test_unit_tests_stay_out_of_production_runs():
    arguments = build_arguments(["campus"], {})
    assert arguments[arguments.index("--exclude-resource-type") + 1] == "unit_test"


def test_days_that_another_sql_summarized_are_all_summarized_anew():
    """Rows of other days would lack a new column, or be counted by another rule."""
    at = datetime(2026, 11, 30)
    before = {DAILY_EVENTS: Built("v1", "one", at), "marts.mart_course": Built("v1", "one", at)}
    edited = {DAILY_EVENTS: Built("v2", "other", at)}
    assert assets._is_summarized_otherwise(edited, before)
    assert not assets._is_summarized_otherwise({DAILY_EVENTS: Built("v2", "one", at)}, before)
    assert not assets._is_summarized_otherwise({"marts.mart_course": Built("v2", "other", at)}, before)
    assert not assets._is_summarized_otherwise(edited, {})
