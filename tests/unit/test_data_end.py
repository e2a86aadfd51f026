"""How far the data of a source reach, from raw, before any model is built."""

from datetime import date, datetime, timedelta

import pytest

from dagster_project.contracts.in_use import CONTRACTS
from dagster_project.ingest import data_end as module
from dagster_project.ingest.data_end import data_end, last_usual_day
from dagster_project.settings import Settings
from tests.models.made_campus import write_campus

FIRST = date(2025, 1, 1)
NOW = datetime(2026, 11, 30)
CAMPUS = CONTRACTS["campus"]


def days(*rows: int) -> dict[date, int]:
    return {FIRST + timedelta(number): count for number, count in enumerate(rows) if count}


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        # 5 are 5 % of the median of 90, 100 and 110, also after a week without any; 4 are not.
        ((90, 100, 110, 5), 3),
        ((90, 100, 110, *[0] * 7, 5), 10),
        ((90, 100, 110, 4), 2),
        # The median of 4, 90, 100 and 110 is 95.
        ((90, 100, 110, 4, 4), 2),
        # Nothing before: the first day is as usual as any.
        ((1,), 0),
        # 1,000 a day once, 10 a day on the 28 days with data before the last: 1 is 10 %.
        ((*[1000] * 28, *[10] * 28, 1), 56),
        # After 13 such days 1,000 is still usual, and 10 are 1 %.
        ((*[1000] * 28, *[10] * 13), 27),
    ],
)
def test_the_last_day_with_a_twentieth_of_the_usual_rows(rows, last):
    assert last_usual_day(days(*rows)) == FIRST + timedelta(last)


def test_without_rows_there_is_no_end():
    assert last_usual_day({}) is None


def events(*, count: int, per_day: int) -> list[dict]:
    """Received a second after they happened, at 23:30 UTC of each day."""
    return [
        {"event_id": 1000 * day + n, "learner_id": "l", "course_id": "c", "term_id": "t", "event_type": "page_view"}
        | {"occurred_at": at, "received_at": at + timedelta(seconds=1), "event_date": at.date()}
        for day in range(count)
        for at in [datetime(2025, 1, 1, 23, 30) + timedelta(day)]
        for n in range(per_day)
    ]


def clock(event_id: int, occurred: datetime, received: datetime) -> dict:
    (event,) = events(count=1, per_day=1)
    return event | {
        "event_id": event_id,
        "occurred_at": occurred,
        "received_at": received,
        "event_date": occurred.date(),
    }


@pytest.mark.parametrize(("zone", "last"), [(None, date(2025, 6, 9)), ("Asia/Tokyo", date(2025, 6, 10))])
def test_rows_count_by_the_day_in_the_source_on_which_they_were_received(tmp_path, zone, last):
    # 160 days to 9 June; 23:30 UTC is the next day's morning in Tokyo.
    rows = events(count=160, per_day=20)
    # Clocks of devices: a year behind, a year ahead, and by twelve years.
    rows += [
        clock(900_000 + n, datetime(year, 6, 1), datetime(2025, 5, 1)) for n, year in enumerate((2024, 2026, 2037))
    ]
    write_campus(tmp_path, "uni", {"events": rows})
    if zone:
        write_campus(tmp_path, "uni", {"institutions": [{"institution_id": "i", "time_zone": zone}]})
    assert data_end(CAMPUS, CAMPUS.table("events"), "uni", Settings(home=tmp_path), NOW) == last


def test_reading_the_newest_days_only_finds_what_all_of_them_say(tmp_path, monkeypatch):
    rows = events(count=690, per_day=2)
    # More than 64 days that have not come, each with a row or two.
    rows += [clock(800_000 + n, datetime(2030, 1, 1) + timedelta(n), datetime(2026, 1, 1)) for n in range(90)]
    write_campus(tmp_path, "uni", {"events": rows})
    arguments = CAMPUS, CAMPUS.table("events"), "uni", Settings(home=tmp_path), NOW
    found = data_end(*arguments)
    monkeypatch.setattr(module, "EVENT_DAYS_READ", (None,))
    assert found == data_end(*arguments) == FIRST + timedelta(689)


def test_days_that_have_not_come_end_nothing(tmp_path):
    write_campus(tmp_path, "uni", {"events": events(count=40, per_day=10)})
    arguments = CAMPUS, CAMPUS.table("events"), "uni", Settings(home=tmp_path)
    # On the morning of 15 January nobody can have been heard of later.
    assert data_end(*arguments, datetime(2025, 1, 15, 8)) == date(2025, 1, 15)


def test_a_source_without_events_has_no_end(tmp_path):
    assert data_end(CAMPUS, CAMPUS.table("events"), "uni", Settings(home=tmp_path), NOW) is None
