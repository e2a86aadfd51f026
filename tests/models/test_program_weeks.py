"""What the weeks of a program know of learners with all kinds of first years, as a delivery written by hand.

Quarters of twelve weeks begin every thirteen, q0 on Monday 2022-01-03: week w ends before 2022-01-03 + 7·w. A year
later, 2023-01-03, lies within 45 days of q4 alone (2023-01-02); a course of it counts as kept from its twenty-first day
on, so that retention is known on 2023-01-23, 55 weeks after the first day. The data end on Thursday 2024-10-31.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import duckdb
import pytest

from dagster_project.analyses.at_risk.subjects import PROGRAMS
from tests.models.compiled_models import CompiledModels
from tests.models.written_university import University

pytestmark = pytest.mark.timeout(900)
LAST_DAY = date(2024, 10, 31)
START = date(2022, 1, 3)
LAST_WEEK = 55
REGISTERED = date(2021, 12, 20)
# l0 begins 210 days before the day after the data's end, which is the end of its week 30.
LATE = {"l0": date(2024, 4, 5), "l1": date(2025, 4, 4)}


def program(uni: University, name: str, terms: dict[str, date], courses: tuple[str, ...]) -> None:
    """A program with terms of twelve weeks, in each of which its courses are offered."""
    uni.program(name)
    for term, start in terms.items():
        row = {"term_id": term, "starts_on": start, "ends_on": start + timedelta(83)}
        uni.add("terms", program_id=name, **row, drop_deadline_on=start + timedelta(20))
    for course in courses:
        uni.add("courses", course_id=course, course_type="degree", program_id=name)
        for term, start in terms.items():
            row = {"term_id": term, "starts_on": start, "ends_on": start + timedelta(83)}
            uni.add("course_offerings", course_id=course, version_id="v1", **row)


def event(uni: University, learner: str, term: str, on: date, received: date | None = None) -> None:
    row = {"learner_id": learner, "course_id": "quarters-1", "term_id": term, "event_type": "page_view"}
    occurred, received = (datetime.combine(x, time(12)) for x in (on, received or on))
    number = len(uni.tables["events"])
    uni.add("events", event_id=number, **row, occurred_at=occurred, received_at=received, event_date=occurred.date())


def write_quarters(uni: University) -> None:
    program(uni, "quarters", {f"q{k}": START + timedelta(91 * k) for k in range(12)}, ("quarters-1", "quarters-2"))
    uni.item("quarters-1", "quiz", weight=1.0, due_day=6)
    for learner, more in (
        ("rests", {}),
        ("gives_up", {}),
        ("takes_none", {}),
        ("graduates", {"completed_on": date(2022, 10, 10)}),
        ("comes_late", {"admitted_on": date(2022, 1, 20)}),
        ("on_leave", {"leave_from_on": date(2022, 4, 4), "leave_to_on": date(2022, 6, 30)}),
        ("fails", {}),
    ):
        uni.student(learner, "quarters", "q0", **more)
    # Passes in q0, takes nothing in q1, a course in q2, and is there a year later.
    done = {"completed_on": date(2022, 3, 20), "final_grade": 90.0}
    uni.takes("rests", "quarters-1", "q0", REGISTERED, **done)
    uni.takes("rests", "quarters-1", "q2", date(2022, 6, 20))
    uni.takes("rests", "quarters-2", "q4", date(2022, 12, 20))
    for _ in range(3):
        event(uni, "rests", "q0", date(2022, 1, 5))
    event(uni, "rests", "q0", date(2022, 4, 20))  # weeks after the course
    event(uni, "rests", "q0", date(2022, 5, 1), received=date(2022, 5, 20))
    at = datetime(2022, 1, 6, 12)
    hand_in = {"item_id": "quiz", "attempt_number": 1, "submitted_at": at, "score": 8.0, "maximum_score": 10.0}
    place = {"learner_id": "rests", "course_id": "quarters-1", "term_id": "q0"}
    uni.add("submissions", **place, **hand_in, grade_released_at=at, graded_by="automatic")
    uni.takes("gives_up", "quarters-1", "q0", REGISTERED, dropped_on=date(2022, 1, 12))
    uni.takes("graduates", "quarters-1", "q0", REGISTERED, **done)
    uni.takes("on_leave", "quarters-1", "q0", REGISTERED)
    # Nobody says when a fail became known: 60 days after the course's last day, 2022-03-27.
    uni.takes("fails", "quarters-1", "q0", REGISTERED, final_grade=20.0)


def write_others(uni: University) -> None:
    # Of the same codes, and quarters-1 serves it too.
    program(uni, "evenings", {"q0": START, "q4": date(2023, 1, 2)}, ("evenings-1",))
    uni.add("program_courses", program_id="evenings", course_id="quarters-1")
    for name in ("quarters", "evenings"):
        uni.student("in_both", name, "q0")
    uni.takes("in_both", "quarters-1", "q0", REGISTERED)
    uni.takes("in_both", "evenings-1", "q0", REGISTERED)
    program(uni, "late", LATE, ("late-1",))
    for learner in ("begun", "begun_without", "graduated", "dropped"):
        uni.student(learner, "late", "l0", completed_on=date(2024, 10, 1) if learner == "graduated" else None)
    uni.student("not_begun", "late", "l1")
    uni.takes("begun", "late-1", "l0", date(2024, 4, 1))
    uni.takes("dropped", "late-1", "l0", date(2024, 4, 1), dropped_on=date(2024, 4, 20))
    uni.takes("not_begun", "late-1", "l1", date(2024, 10, 1))
    # No term after the first one is told: nobody will know.
    program(uni, "ended", {"e0": date(2021, 9, 6)}, ("ended-1",))
    uni.student("followed_long", "ended", "e0", admitted_on=date(2021, 7, 1))


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    uni = University()
    uni.add("institutions", institution_id="u", institution_name="Uni", time_zone="UTC", passing_share=0.5)
    write_quarters(uni)
    write_others(uni)
    for days in range(40):
        event(uni, "on_leave", "q0", LAST_DAY - timedelta(days))
    models = CompiledModels(tmp_path_factory.mktemp("weeks"), {"campus": uni.tables})
    with models.built() as connection:
        assert models.failures(connection) == []
        yield connection


def of_weeks(weeks: duckdb.DuckDBPyConnection, learner: str, columns: str, expected: dict, name="quarters") -> None:
    """Compare columns of the learner's weeks with what is expected of each."""
    found = weeks.execute(
        f"select week_number, {columns} from marts.mart_learner_program_week where program_enrollment_key = ? "
        "and week_number in (select unnest(?)) order by 1",
        [f"campus:{learner}:{name}", list(expected)],
    ).fetchall()
    assert {week: values[0] if len(values) == 1 else tuple(values) for week, *values in found} == expected


def followed(weeks: duckdb.DuckDBPyConnection, learner: str, name: str) -> tuple[int, int, int]:
    """First week, last week, and weeks."""
    (row,) = weeks.execute(
        "select min(week_number), max(week_number), count(*) from marts.mart_learner_program_week "
        "where program_enrollment_key = ?",
        [f"campus:{learner}:{name}"],
    ).fetchall()
    return row


@pytest.mark.parametrize("learner", ["rests", "gives_up", "takes_none", "graduates", "on_leave", "fails", "in_both"])
def test_everybody_is_followed_from_the_first_day_until_it_is_known_who_stayed(weeks, learner):
    assert followed(weeks, learner, "quarters") == (0, LAST_WEEK, LAST_WEEK + 1)


def test_weeks_begin_with_the_admission_and_end_with_the_data_or_after_two_years(weeks):
    # Admitted on 20 January: the first week that knows it ends before 24 January.
    assert followed(weeks, "comes_late", "quarters") == (3, LAST_WEEK, LAST_WEEK - 2)
    assert followed(weeks, "begun_without", "late") == (0, 30, 31)
    assert followed(weeks, "not_begun", "late") == (None, None, 0)
    assert followed(weeks, "followed_long", "ended") == (0, 104, 105)


def test_only_who_has_completed_the_program_is_no_longer_in_it(weeks):
    # The day of completion, 10 October, is known in the week after the one that ends before it.
    of_weeks(weeks, "graduates", "is_enrolled", {39: True, 40: True, 41: False, 55: False})
    for learner in ("gives_up", "takes_none", "on_leave"):
        of_weeks(weeks, learner, "is_enrolled", {0: True, 20: True, 55: True})


def test_a_leave_is_known_from_its_second_day_to_its_last(weeks):
    # 4 April to 30 June; weeks 13, 14, 25 and 26 end before 4 and 11 April, 27 June and 4 July.
    of_weeks(weeks, "on_leave", "is_on_leave", {13: False, 14: True, 25: True, 26: False})
    of_weeks(weeks, "rests", "is_on_leave", {14: False})


def test_the_calendar_of_the_program_is_told(weeks):
    # q0 ends on 27 March, the last day of week 12, and q1 begins with week 13.
    of_weeks(weeks, "takes_none", "is_between_terms", {0: False, 11: False, 12: True, 13: False})
    # q4 begins 52 weeks after q0. l1 begins on 2025-04-04, 154 days after 2024-11-01.
    of_weeks(weeks, "takes_none", "until_next_year_weeks", {0: 52, 40: 12, 52: 0, 55: -3})
    of_weeks(weeks, "begun", "until_next_year_weeks", {30: 22}, "late")
    # No later term: until a year after the first day, 365 days, which are 52 whole weeks.
    of_weeks(weeks, "followed_long", "until_next_year_weeks", {0: 52, 52: 0, 53: -1}, "ended")


def test_courses_of_all_terms_count_from_when_they_are_known(weeks):
    # q0's begins with week 0, q2's with week 26 and q4's with week 52. Registered for q2 on 20 June, in week 25, which
    # ends before the 27th, and for q4 on 20 December, in week 51.
    of_weeks(weeks, "rests", "course_count", {0: 1, 25: 1, 26: 2, 51: 2, 52: 3})
    of_weeks(weeks, "rests", "registered_ahead_course_count", {24: 0, 25: 1, 26: 0, 50: 0, 51: 1, 52: 0})
    of_weeks(weeks, "rests", "term_course_count", {0: 1, 11: 1, 12: 0, 25: 0, 26: 1, 37: 1, 38: 0, 52: 1})
    of_weeks(weeks, "rests", "later_term_course_count", {24: 0, 25: 1, 50: 1, 51: 2, 55: 2})
    of_weeks(weeks, "rests", "next_year_course_count", {25: 0, 50: 0, 51: 1, 55: 1})
    # Passed on 20 March, the last day of week 11; the fail is known on 26 May, in week 21.
    of_weeks(weeks, "rests", "passed_course_count, failed_course_count", {10: (0, 0), 11: (1, 0), 55: (1, 0)})
    of_weeks(weeks, "fails", "passed_course_count, failed_course_count", {20: (0, 0), 21: (0, 1), 55: (0, 1)})
    of_weeks(weeks, "rests", "registration_lead_days", {0: 14, 55: 14})


def test_weeks_without_a_course_are_counted_from_the_last_one_that_had_one(weeks):
    # The course of q0 runs to the end of week 12, that of q2 from week 26's end to that of week 38.
    of_weeks(weeks, "rests", "without_course_weeks", {0: 0, 12: 0, 13: 1, 25: 13, 26: 0, 38: 0, 39: 1})
    # Left on 12 January: week 2 ends without it.
    of_weeks(weeks, "gives_up", "without_course_weeks", {1: 0, 2: 1, 10: 9})
    of_weeks(weeks, "gives_up", "course_count, left_course_count, term_course_count", {1: (1, 0, 1), 2: (1, 1, 0)})
    of_weeks(weeks, "takes_none", "without_course_weeks", {0: 0, 1: 1, 30: 30})


def test_last_weeks_hold_what_happened_in_them_and_go_back_to_nothing(weeks):
    # Three clicks on 5 January, in week 1; one on 20 April, in week 16, weeks after the course; one on 1 May, in week
    # 17, received on 20 May, in week 20: by then it lies in the last four weeks, 25 April to 22 May, not in the last.
    columns = "click_count, last_week_click_count, last_four_weeks_click_count, active_days, since_last_activity_days"
    of_weeks(
        weeks,
        "rests",
        columns,
        {
            0: (0, 0, 0, 0, None),
            1: (3, 3, 3, 1, 5),
            4: (3, 0, 3, 1, 26),
            5: (3, 0, 0, 1, 33),
            15: (3, 0, 0, 1, 103),
            16: (4, 1, 1, 2, 5),
            19: (4, 0, 1, 2, 26),
            20: (5, 0, 1, 3, 22),
            21: (5, 0, 0, 3, 29),
            55: (5, 0, 0, 3, 267),
        },
    )


def test_who_takes_no_course_has_done_nothing_and_has_no_rank(weeks):
    columns = """
        course_count, click_count, last_week_click_count, due_item_count, missing_item_count, since_last_activity_days,
        mean_score_share, submitted_per_due_ratio, registration_lead_days, click_rank_share
    """
    of_weeks(weeks, "takes_none", columns, {30: (0, 0, 0, 0, 0, None, None, None, None, None)})


def test_assignments_add_up_over_the_terms_and_ranks_are_those_of_running_courses(weeks):
    # The quiz is due on the last day of week 1, and again on that of week 27, when it is not handed in.
    columns = "due_item_count, submitted_item_count, missing_item_count, mean_score_share, lowest_last_score_share"
    handed_in = (1, 1, 0, 0.8, 0.8)
    of_weeks(weeks, "rests", columns, {1: handed_in, 20: handed_in, 26: handed_in, 27: (2, 1, 1, 0.8, 0.8)})
    # 6 January is four days before week 1's end.
    of_weeks(weeks, "rests", "since_last_submission_days", {0: None, 1: 4, 30: 207})
    # Of the six in the course nobody else clicked: first of all. No course runs in week 13.
    of_weeks(weeks, "rests", "click_rank_share", {1: 1.0, 13: None, 26: 0.0})


def test_a_course_counts_in_each_program_that_it_serves(weeks):
    of_weeks(weeks, "in_both", "course_count, term_course_count", {4: (1, 1)}, "quarters")
    of_weeks(weeks, "in_both", "course_count, term_course_count", {4: (2, 2)}, "evenings")


def test_everybody_with_an_open_first_year_is_scored(weeks):
    """Open: the first term has begun, no graduation is known, and it is not known yet whether they stayed."""
    scored = weeks.execute(
        "select program_enrollment_key from features.feature_program_weeks inner join core.dim_source using (source) "
        "where y is null and as_of_on > last_data_on - 6 order by 1"
    ).fetchall()
    # Without a course, or having left the only one, as well; nobody is followed for longer than two years.
    assert scored == [(f"campus:{learner}:late",) for learner in ("begun", "begun_without", "dropped")]
    assert weeks.execute(PROGRAMS.active.format(source="'campus'")).fetchall() == [(3,)]
    enrollments = (
        "select enrollment_key from features.feature_open_enrollments where outcome = 'not_retained' order by 1"
    )
    assert weeks.execute(enrollments).fetchall() == scored
