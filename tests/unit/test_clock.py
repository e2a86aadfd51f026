"""The present can be set: everything that a date matters to then takes it for the present."""

from datetime import UTC, date, datetime, timedelta

import pytest

from dagster_project.base import clock
from dagster_project.settings import Settings
from dagster_project.store.publish import make_snapshot_id


def test_unset_it_is_the_machines(monkeypatch):
    monkeypatch.delenv(clock.VARIABLE, raising=False)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["2036-02-29T23:30:00", "2036-02-29T23:30:00+00:00", "2036-03-01T01:30:00+02:00"])
def test_set_it_begins_there_and_goes_on(monkeypatch, text):
    monkeypatch.setenv(clock.VARIABLE, text)
    first = clock.now()
    assert timedelta(0) <= first - datetime(2036, 2, 29, 23, 30, tzinfo=UTC) < timedelta(seconds=60)
    assert clock.today() == date(2036, 2, 29)
    assert clock.now() >= first
    assert clock.now_as_stored().tzinfo is None
    assert make_snapshot_id().startswith("20360229T2330")


def test_a_clock_that_is_none_is_a_wrong_setting(monkeypatch):
    monkeypatch.setenv(clock.VARIABLE, "tomorrow")
    with pytest.raises(ValueError, match="clock"):
        Settings()
