"""Canvas Data 2, the contract of docs/add_a_contract.md: records written by hand, first ones and what changed later."""

import pytest

from tests.platforms.delivery import Delivery
from tests.platforms.written_canvas import write_both


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    folder = tmp_path_factory.mktemp("canvas")
    write_both(folder / "landing")
    return Delivery("canvas", folder / "landing", folder / "home")


def test_every_record_is_loaded_and_every_test_of_staging_passes(delivery):
    assert {name: load.refused for name, load in delivery.loads.items() if load.refused} == {}
    assert delivery.loads["submissions"].accepted == 4
    assert delivery.failures == delivery.warnings == []


def test_a_later_record_counts_and_what_is_deleted_is_gone(delivery):
    columns = ("learner_id", "term_id", "unregistered_on", "completed_on", "outcome", "final_grade_share")
    found = delivery.rows("course_enrollments", *columns)
    assert sorted(found, key=lambda row: row[:2]) == sorted(
        [
            (delivery.person("1"), "1", None, "2024-12-21", "pass", 0.8),
            (delivery.person("2"), "1", None, None, "fail", 0.4),
            (delivery.person("2"), "unknown", None, None, None, None),
            (delivery.person("3"), "1", "2024-09-20", None, "withdrawn", None),
        ],
        key=lambda row: row[:2],
    )
    assert delivery.rows("course_items", "item_id", "kind", "weight_share", "due_day") == [
        ("10", "quiz", 30 / 100, 10),
        ("11", "staff_graded", 70 / 100, None),
    ]
    assert delivery.rows("courses", "course_id") == [("7",)]
    assert delivery.rows("course_offerings", "starts_on", "ends_on") == [("2024-09-02", "2024-12-20")]


def test_hand_ins_are_those_that_were_handed_in(delivery):
    columns = ("item_id", "attempt_number", "submitted_at", "score", "maximum_score", "grade_released_at", "graded_by")
    assert delivery.rows("submissions", *columns) == [
        ("10", 2, "2024-09-11 20:00:00", 24.0, 30.0, "2024-09-11 20:00:05", "automatic"),
        ("11", 1, "2024-10-01 20:00:00", 56.0, 70.0, "2024-10-08 20:00:00", "staff"),
    ]


def test_requests_of_somebody_in_a_course_are_events(delivery):
    assert delivery.rows("events", "event_id", "event_type", "occurred_at") == [
        ("900", "assignments", "2024-09-03 10:00:00.123"),
        ("902", "forum_view", "2024-09-03 10:06:00"),
        ("904", "courses", "2024-09-03 10:08:00"),
    ]


def test_names_are_in_the_identity_store_and_nowhere_else(delivery):
    found = [path for path in (delivery.settings.home / "raw").rglob("*.parquet") if b"Name 1" in path.read_bytes()]
    assert found == []
    assert [column for column, *_ in delivery.query("describe raw_canvas.users")][:3] == ["id", "action", "created_at"]
