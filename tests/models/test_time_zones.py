"""Days, learning time and the data's end on rows written by hand, with the answer worked out beside each.

A source in Lima (five hours behind UTC) and one in UTC, in raw as the loader writes it. A warehouse is built from a
first delivery, brought up to date by the dates of a second one and by a program's new time zone, and built anew.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import pytest

from dagster_project.contracts.source import read_contracts
from dagster_project.ingest.data_end import data_end
from dagster_project.settings import REPOSITORY, Settings
from tests.models.made_campus import write_campus
from tests.models.made_source import MadeWarehouse, Warehouse

MODELS = ("+mart_learner_course", "+dim_date", "+fct_duplicate_rows")
FACTS = "core.fct_daily_activity"
START, END = date(2025, 2, 24), date(2025, 3, 30)

pytestmark = pytest.mark.timeout(600)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def event(number: int, learner: str, course: str, moment: str, received: str | None = None, item: str | None = None):
    """An event of a term of its program, received as it happened."""
    occurred = at(moment)
    return {
        "event_id": number,
        "learner_id": learner,
        "course_id": course,
        "term_id": "t",
        "item_id": item,
        "event_type": "item_completed",
        "occurred_at": occurred,
        "received_at": at(received) if received else occurred,
        "event_date": occurred.date(),
    }


def university(zones: dict[str, str | None], institution: str | None, learners: Iterable[str]) -> dict[str, list[dict]]:
    """Programs with a course each, `<program>-c`, in one term; and an open course of none."""
    place = {"starts_on": START, "ends_on": END}
    courses = {f"{program}-c": program for program in zones} | {f"{program}-d": program for program in zones}
    return {
        "institutions": [{"institution_id": "i", "time_zone": institution}] if institution else [],
        "programs": [{"program_id": program, "time_zone": zone} for program, zone in zones.items()],
        "terms": [
            {"program_id": program, "term_id": "t", "season": "spring", "drop_deadline_on": START, **place}
            for program in list(zones)[:1]
        ],
        "courses": [
            {"course_id": course, "course_type": "degree", "program_id": program} for course, program in courses.items()
        ]
        + [{"course_id": "open", "course_type": "open"}],
        "course_offerings": [
            {"course_id": course, "term_id": "t", "version_id": "v", **place} for course in [*courses, "open"]
        ],
        "course_items": [
            {"course_id": course, "version_id": "v", "item_id": kind, "kind": kind, "week": 1, "position": place}
            | {"is_graded": kind != "video", "weight": 0.25 if kind != "video" else None, "due_day": 10}
            for course in courses
            for place, kind in enumerate(("video", "quiz", "staff_graded", "discussion", "team"))
        ],
        "learners": [{"learner_id": learner, "registered_at": at("2025-01-01")} for learner in learners],
        "course_enrollments": [
            {"learner_id": learner, "course_id": course, "term_id": "t", "enrolled_at": at("2025-02-01 12:00")}
            for learner in learners
            for course in [*courses, "open"]
        ],
    }


LEARNERS = ("evening", "midnight", "parallel", "device", "late")
FIRST = [
    # 18:30 and 21:40 of 3 March in Lima: two days of raw, one active day; 190 minutes apart, no learning time.
    event(1, "evening", "lima-c", "2025-03-03 23:30"),
    event(2, "evening", "lima-c", "2025-03-04 02:40"),
    # 23:50 of 4 March in Lima. What follows after midnight comes with the second delivery.
    event(3, "midnight", "lima-c", "2025-03-05 04:50"),
    # Two courses at once, of two programs: 10:00 c, 10:10 d, 10:15 c in UTC.
    event(4, "parallel", "lima-c", "2025-03-05 10:00"),
    event(5, "parallel", "tokyo-c", "2025-03-05 10:10"),
    event(6, "parallel", "lima-c", "2025-03-05 10:15"),
    # Received at once, of a clock that is twelve years fast.
    event(7, "device", "lima-c", "2037-03-05 10:00", "2025-03-05 10:00"),
    event(8, "late", "lima-c", "2025-03-05 15:00"),
    event(9, "late", "lima-c", "2025-03-05 15:20"),
    event(16, "parallel", "tokyo-d", "2025-03-03 16:00"),
    # A click on each kind of graded item, hours apart.
    event(20, "evening", "lima-d", "2025-03-05 12:00", item="quiz"),
    event(21, "evening", "lima-d", "2025-03-05 14:00", item="staff_graded"),
    event(22, "evening", "lima-d", "2025-03-05 16:00", item="discussion"),
    event(23, "evening", "lima-d", "2025-03-05 18:00", item="team"),
    event(24, "evening", "lima-d", "2025-03-05 20:00", item="video"),
]
SECOND = [
    # 00:05 and 00:15 of 5 March in Lima: the session goes on, on the same day of raw.
    event(10, "midnight", "lima-c", "2025-03-05 05:05"),
    event(11, "midnight", "lima-c", "2025-03-05 05:15"),
    # 10:35 d ends the session: 10 + 20 minutes of c, 5 of d.
    event(12, "parallel", "tokyo-c", "2025-03-05 10:35"),
    # Received a day later: 10 of the 20 minutes of c are d's.
    event(13, "late", "lima-d", "2025-03-05 15:10", "2025-03-06 15:10"),
    # 23:55 of 5 March UTC, and the next day of raw: an evening in Lima, ten minutes of it.
    event(14, "evening", "lima-c", "2025-03-05 23:55"),
    event(15, "evening", "lima-c", "2025-03-06 00:05"),
]


@dataclass
class States:
    """All tables after the first delivery, the second one, a program's new time zone, and built anew from all."""

    first: dict
    second: dict
    anew: dict
    warehouse: Warehouse

    def facts(self, state: dict, learner: str, course: str) -> list[dict]:
        """Days of a learner in a course, in the order of days and of when they became known."""
        names = [name for (name, *_) in self.warehouse.query(f"describe {FACTS}")]
        rows = [dict(zip(names, row, strict=True)) for row in state[FACTS]]
        key = f"lima:{learner}:{course}:t"
        found = [row for row in rows if row["course_enrollment_key"] == key]
        return sorted(found, key=lambda row: (row["activity_on"], row["known_on"]))

    def days(self, state: dict, learner: str, course: str) -> list[tuple]:
        return [
            (
                row["activity_on"].day,
                row["known_on"].day,
                row["is_first_known"],
                row["event_count"],
                int(row["learning_seconds"]),
            )
            for row in self.facts(state, learner, course)
        ]


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> States:
    warehouse = MadeWarehouse(tmp_path_factory.mktemp("time"))
    reference = university({"lima": None, "tokyo": "Asia/Tokyo"}, "America/Lima", LEARNERS)
    reference["submissions"] = [
        # 21:00 of the due day, 6 March, in Lima; the grade at 20:00 of the 7th.
        {"learner_id": "evening", "course_id": "lima-c", "term_id": "t", "item_id": "quiz", "attempt_number": 1}
        | {"submitted_at": at("2025-03-07 02:00"), "grade_released_at": at("2025-03-08 01:00"), "score": 9.0}
        | {"maximum_score": 10.0, "graded_by": "staff"}
    ]
    # 100 events a day, 20 on the last day of data; three of devices with wrong clocks, received as they happened.
    usual = [
        event(1000 * day + n, "l", "p-c", f"2025-03-{day:02} 08:00")
        for day in range(1, 11)
        for n in range(20 if day == 10 else 100)
    ]
    clocks = [
        event(50_000 + n, "l", "p-c", f"{year}-06-01 08:00", "2025-03-09 08:00")
        for n, year in enumerate((2026, 2037, 2099))
    ]
    plain = university({"p": None}, None, ["l"])
    write_campus(warehouse.home, "lima", {**reference, "events": FIRST})
    write_campus(warehouse.home, "plain", {**plain, "events": usual + clocks})
    warehouse.build("run", "--select", *MODELS)
    first = warehouse.tables()

    write_campus(warehouse.home, "lima", {"events": FIRST + SECOND})
    changed = sorted({row["event_date"].isoformat() for row in SECOND})
    # Days of Tokyo's courses are counted in Madrid from now on: the run names the dates of the events only.
    reference["programs"][1]["time_zone"] = "Europe/Madrid"
    write_campus(warehouse.home, "lima", {"programs": reference["programs"]})
    warehouse.build("run", "--select", *MODELS, rebuild={"lima": {"dates": changed}}, slices=2)
    second = warehouse.tables()

    anew = MadeWarehouse(tmp_path_factory.mktemp("anew"))
    shutil.copytree(warehouse.home / "raw", anew.home / "raw", dirs_exist_ok=True)
    anew.build("run", "--select", *MODELS, slices=3)
    return States(first, second, anew.tables(), warehouse)


def test_an_evening_in_lima_is_one_day(states):
    assert states.days(states.first, "evening", "lima-c") == [(3, 3, True, 2, 0)]
    # 18:55 to 19:05 of 5 March.
    assert states.days(states.second, "evening", "lima-c") == [(3, 3, True, 2, 0), (5, 5, True, 2, 600)]


def test_a_session_goes_on_after_midnight_and_its_minutes_belong_to_the_day_on_which_they_were_spent(states):
    assert states.days(states.first, "midnight", "lima-c") == [(4, 4, True, 1, 0)]
    # 23:50 to 00:05, 00:05 to 00:15. The ten minutes before midnight are known with the event that ends them.
    assert states.days(states.second, "midnight", "lima-c") == [
        (4, 4, True, 1, 0),
        (4, 5, False, 0, 600),
        (5, 5, True, 2, 300 + 600),
    ]


def test_two_courses_in_parallel_share_the_time_of_their_learner(states):
    # c opens 10:00 to 10:10, Tokyo's 10:10 to 10:15.
    assert [row[-1] for row in states.days(states.first, "parallel", "lima-c")] == [600]
    assert [row[-1] for row in states.days(states.first, "parallel", "tokyo-c")] == [300]
    # And c 10:15 to 10:35: 35 minutes from 10:00 to 10:35.
    assert [row[-1] for row in states.days(states.second, "parallel", "lima-c")] == [1800]
    assert [row[-1] for row in states.days(states.second, "parallel", "tokyo-c")] == [300]


def test_a_late_event_takes_its_minutes_from_the_course_that_had_them_on_the_day_it_is_known(states):
    assert states.days(states.first, "late", "lima-c") == [(5, 5, True, 2, 1200)]
    assert states.days(states.second, "late", "lima-c") == [(5, 5, True, 2, 1200), (5, 6, False, 0, -600)]
    assert states.days(states.second, "late", "lima-d") == [(5, 6, True, 1, 600)]


def test_activity_on_graded_items_is_activity(states):
    query = (
        "select click_count, video_click_count, quiz_click_count, assignment_click_count, discussion_click_count, "
        "team_click_count, practice_click_count from marts.mart_learner_course "
        "where course_enrollment_key = 'lima:evening:lima-d:t'"
    )
    # No course has an item to practise with: its clicks cannot be counted.
    assert states.warehouse.query(query) == [(5, 1, 1, 1, 1, 1, None)]


def test_work_of_the_evening_of_the_due_day_is_in_time(states):
    query = "select submitted_on, due_on, lead_days, score_known_on from core.fct_submission where source = 'lima'"
    assert states.warehouse.query(query) == [(date(2025, 3, 6), date(2025, 3, 6), 0, date(2025, 3, 7))]


def test_the_clocks_of_devices_do_not_move_the_end_of_the_data(states):
    ends = "select last_data_on from core.dim_source where source = "
    # 20 rows are a fifth of the usual 100; the rows of the clocks were received on the 9th.
    assert states.warehouse.query(f"{ends} 'plain'") == [(date(2025, 3, 10),)]
    # 3, 1 and 16 rows were received on 3 to 5 March in Lima: the one of the 6th is a third of their median.
    assert states.warehouse.query(f"{ends} 'lima'") == [(date(2025, 3, 6),)]


@pytest.mark.parametrize("source", ["lima", "plain"])
def test_before_the_build_the_data_end_where_they_do_after_it(states, source):
    contract = read_contracts(REPOSITORY / "dbt" / "models")["campus"]
    settings = Settings(home=states.warehouse.home)
    found = data_end(contract, contract.table("events"), source, settings, datetime(2026, 11, 30))
    assert [(found,)] == states.warehouse.query(f"select last_data_on from core.dim_source where source = '{source}'")


def test_the_calendar_holds_the_dates_of_the_data_and_the_teaching_week(states):
    span = states.warehouse.query("select min(date_on), max(date_on), count(*) from core.dim_date")
    # The fastest clock says 2099; the 75 years have 18 leap days.
    assert span == [(date(2025, 1, 1), date(2099, 12, 31), 75 * 365 + 18)]
    weeks = "select date_on, term_count, teaching_week from core.dim_date where date_on in "
    # Two terms from 24 February on, one a source.
    days = "(date '2025-02-23', date '2025-02-24', date '2025-03-02', date '2025-03-03', date '2025-03-31')"
    assert states.warehouse.query(f"{weeks} {days} order by 1") == [
        (date(2025, 2, 23), 0, None),
        (date(2025, 2, 24), 2, 1),
        (date(2025, 3, 2), 2, 1),
        (date(2025, 3, 3), 2, 2),
        (date(2025, 3, 31), 0, None),
    ]


def test_another_time_zone_of_a_program_counts_its_days_anew(states):
    # 16:00 UTC of 3 March is the 4th in Tokyo, and the 3rd in Madrid.
    assert states.days(states.first, "parallel", "tokyo-d") == [(4, 4, True, 1, 0)]
    assert states.days(states.second, "parallel", "tokyo-d") == [(3, 3, True, 1, 0)]


def test_runs_of_some_dates_end_with_the_rows_of_a_whole_one(states):
    assert states.second.keys() == states.anew.keys()
    for table, rows in states.anew.items():
        assert states.second[table] == rows, table
    assert states.first[FACTS] != states.second[FACTS]
