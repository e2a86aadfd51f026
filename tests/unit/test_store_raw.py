"""Raw tables as relations: all of a table, or the days that changed."""

from datetime import date

import duckdb
import pytest

from dagster_project.settings import Settings
from dagster_project.store.raw import raw_relation


@pytest.fixture
def settings(tmp_path):
    for source, day, columns in (
        ("a", "2024-01-01", "1 as event_id"),
        ("a", "2024-01-03", "2 as event_id, 'web' as platform"),
        ("b", "2024-01-03", "3 as event_id"),
        ("a", "2024-01-04", "4 as event_id"),
    ):
        folder = tmp_path / "raw" / "campus" / "events" / f"source={source}" / f"event_date={day}"
        folder.mkdir(parents=True)
        duckdb.sql(f"copy (select {columns}) to '{folder}/file.parquet' (format parquet)")
    return Settings(home=tmp_path)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (None, [1, 2, 3, 4]),
        ([date(2024, 1, 1), date(2024, 1, 3)], [1, 2, 3]),
        ([date(2024, 1, 2)], []),
        ([], []),
    ],
)
def test_a_raw_table_is_read_whole_or_by_day_over_all_sources(settings, days, expected):
    with raw_relation(settings, "campus", "events", days) as (connection, sql):
        rows = connection.execute(f"select event_id, event_date, platform from {sql} order by event_id").fetchall()
    assert [event_id for event_id, _, _ in rows] == expected
    assert all(isinstance(day, date) and (days is None or day in days) for _, day, _ in rows)
