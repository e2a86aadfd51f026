"""Calendars, programs and careers of all kinds, as a delivery written by hand: what the marts say of them.

Every learner's own answer is worked out beside it. The data end on 31 October 2024.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import duckdb
import pytest

from tests.models.compiled_models import CompiledModels
from tests.models.written_university import University

pytestmark = pytest.mark.timeout(900)
LAST_DAY = date(2024, 10, 31)
FALLS = {
    "fa22a": date(2022, 9, 1),
    "fa22b": date(2022, 9, 29),
    "sp23": date(2023, 2, 1),
    "fa23a": date(2023, 9, 1),
    "fa23b": date(2023, 9, 29),
}
WINTERS = {"w22": date(2022, 12, 30), "w24": date(2024, 1, 2)}
QUARTERS = {f"q{k}": date(2022, 1, 3) + timedelta(91 * k) for k in range(9)}
YEARS = {"y22": date(2022, 9, 5), "y23": date(2023, 9, 4), "y24": date(2024, 9, 2), "y25": date(2025, 9, 1)}


def add_calendars(uni: University) -> None:
    # Two sessions in a fall, 28 days apart. Between starts lie 332 (from the institution's term of 2021), 28, 125, 212
    # and 28 days, whose median is 125: 60 days to both sides, so a year later means both.
    uni.program("falls")
    for term, start in FALLS.items():
        uni.term("falls", term, start, season="fall" if term[:2] == "fa" else "spring", is_required=term != "fa23b")
    uni.course("falls-1", "falls", FALLS)
    uni.student("second_session", "falls", "fa22a")
    uni.takes("second_session", "falls-1", "fa22a", date(2022, 8, 20))
    uni.takes("second_session", "falls-1", "fa23b", date(2023, 9, 20))
    uni.student("spring_only", "falls", "fa22a")
    uni.takes("spring_only", "falls-1", "fa22a", date(2022, 8, 20))
    uni.takes("spring_only", "falls-1", "sp23", date(2023, 1, 20))
    # A winter that begins on 30 December is in another year than the next one, on 2 January.
    uni.program("winters")
    for term, start in WINTERS.items():
        uni.term("winters", term, start, season="winter")
    uni.course("winters-1", "winters", WINTERS)
    uni.student("winter", "winters", "w22")
    uni.takes("winter", "winters-1", "w22", date(2022, 12, 1))
    uni.takes("winter", "winters-1", "w24", date(2023, 12, 1))
    # Quarters every 91 days, without seasons: 1 year later is 2023-01-03, the fifth start is 2023-01-02.
    uni.program("quarters")
    for term, start in QUARTERS.items():
        uni.term("quarters", term, start)
    uni.course("quarters-1", "quarters", QUARTERS)
    uni.student("fifth_quarter", "quarters", "q0")
    uni.takes("fifth_quarter", "quarters-1", "q0", date(2021, 12, 20))
    uni.takes("fifth_quarter", "quarters-1", "q4", date(2022, 12, 20))
    uni.student("fourth_quarter", "quarters", "q0")
    uni.takes("fourth_quarter", "quarters-1", "q0", date(2021, 12, 20))
    uni.takes("fourth_quarter", "quarters-1", "q3", date(2022, 9, 20))


def add_careers(uni: University) -> None:
    """One program of yearly terms, whose drop deadlines are not told: dropped in the first 14 days is not taken."""
    uni.program("years")
    for term, start in YEARS.items():
        uni.term("years", term, start, season="autumn")
    uni.course("years-1", "years", YEARS)
    for learner, more, a_year_later in (
        # 4 September is day 0: the 17th is the last of 14 days.
        ("dropped_on_day_13", {}, {"dropped_on": date(2023, 9, 17)}),
        ("dropped_on_day_14", {}, {"dropped_on": date(2023, 9, 18)}),
        ("graduate", {"completed_on": date(2023, 8, 1)}, None),
        ("gone", {}, None),
        ("on_leave", {"leave_from_on": date(2023, 8, 1), "leave_to_on": date(2024, 1, 31)}, None),
    ):
        uni.student(learner, "years", "y22", **more)
        uni.takes(learner, "years-1", "y22", date(2022, 8, 20))
        if a_year_later is not None:
            uni.takes(learner, "years-1", "y23", date(2023, 8, 20), **a_year_later)
    # The second year begins after the data.
    uni.student("newcomer", "years", "y24")
    uni.takes("newcomer", "years-1", "y24", date(2024, 8, 20), dropped_on=date(2024, 9, 10))
    # Dropped in the term, entered again eight days later, and passed.
    uni.student("back_again", "years", "y22")
    uni.takes("back_again", "years-1", "y22", date(2022, 8, 20), dropped_on=date(2022, 10, 1))
    uni.takes("back_again", "years-1", "y22", date(2022, 10, 9), completed_on=date(2022, 12, 11), final_grade=90.0)
    # Ended on 20 October, and of those who stayed nobody's outcome is told yet.
    uni.course("years-4", "years", {"y24": date(2024, 7, 15)})
    for learner, more in (("waits", {}), ("left", {"dropped_on": date(2024, 8, 20)})):
        uni.student(learner, "years", "y24")
        uni.takes(learner, "years-4", "y24", date(2024, 7, 1), **more)
    # Planned otherwise before the term: dropped and entered again before the first day.
    uni.student("changed_plans", "years", "y22")
    uni.takes("changed_plans", "years-1", "y22", date(2022, 8, 1), dropped_on=date(2022, 8, 10))
    uni.takes("changed_plans", "years-1", "y22", date(2022, 8, 20))


X_TERMS = {"2021F": date(2021, 9, 6), "2022F": date(2022, 9, 5), "2023F": date(2023, 9, 4)}
Y_TERMS = {"2022F": date(2022, 10, 3), "2023F": date(2023, 10, 2)}


def add_shared(uni: University) -> None:
    """Two programs with the same codes for terms of their own, a code of the whole institution, and a shared course."""
    uni.program("x", passing_share=0.6)
    uni.program("y", time_zone="America/Lima")
    for program, terms in (("x", X_TERMS), ("y", Y_TERMS)):
        for term, start in terms.items():
            uni.term(program, term, start, season="fall", drop_deadline_on=start + timedelta(20))
    # 2021F is a term of the whole institution: of all programs but x, which has its own.
    uni.term(None, "2021F", date(2021, 10, 4), season="fall")
    uni.course("statistics", "x", X_TERMS)
    uni.add("program_courses", program_id="y", course_id="statistics")
    uni.course("y-1", "y", Y_TERMS)
    uni.tables["courses"][-1]["passing_share"] = 0.7
    # In both programs: statistics is a first course of either, and next year's course is one of y only.
    for program in ("x", "y"):
        uni.student("both", program, "2022F")
    uni.takes("both", "statistics", "2022F", date(2022, 8, 20))
    uni.takes("both", "y-1", "2023F", date(2023, 9, 20))
    # In y only, a year later in the course that belongs to x.
    uni.student("shares", "y", "2022F")
    uni.takes("shares", "statistics", "2022F", date(2022, 8, 20))
    uni.takes("shares", "statistics", "2023F", date(2023, 8, 20))
    # At 2 o'clock UTC of the first day, which is 21 o'clock of the day before in Lima.
    uni.student("evening", "y", "2022F")
    uni.takes("evening", "y-1", "2022F", date(2022, 10, 3), time(2))
    # Ids with colons, which put together in another way give the same.
    for program, term in (("c", "d:e"), ("c:d", "e")):
        uni.program(program)
        uni.term(program, term, date(2022, 9, 5))
    # Of a program that nobody delivered, and with an unknown first term.
    uni.student("nowhere", "z", "2022F")
    uni.student("never", "x", "1999F")


def add_open_courses(uni: University) -> None:
    """Ten items each; the degree courses of `years` share three, or two and two."""
    uni.course("years-2", "years", {"y22": YEARS["y22"]})
    uni.add("course_offerings", course_id="years-2", term_id="y23", version_id="v2", starts_on=YEARS["y23"])
    uni.course("years-3", "years", {"y22": YEARS["y22"]})
    for k in range(1, 5):
        uni.item("years-2", f"a{k}")
        uni.item("years-3", f"b{k}")
    uni.item("years-2", "a1", "v2")
    for course in ("stackable", "twice_two", "other"):
        uni.course(course, None, {"open": date(2018, 1, 1)}, "open")
        for k in range(1, 11):
            # Quizzes of the outline are due in its first week, which says nothing to who comes at any time.
            uni.item(course, f"{course}-{k}", weight=0.1, due_day=6)
    shared = [("stackable", "years-2", k, f"a{k}") for k in (1, 2, 3)]
    shared += [("twice_two", "years-2", k, f"a{k}") for k in (1, 2)] + [
        ("twice_two", "years-3", k + 2, f"b{k}") for k in (1, 2)
    ]
    for open_course, course, k, item in shared:
        row = {"open_item_id": f"{open_course}-{k}", "course_id": course, "item_id": item}
        uni.add("shared_items", open_course_id=open_course, **row)
    before, after = date(2022, 3, 1), date(2022, 9, 6)
    for learner, course, enrolled, more in (
        ("completed_stackable", "stackable", before, {"completed_on": date(2022, 4, 1)}),
        ("completed_twice_two", "twice_two", before, {"completed_on": date(2022, 4, 1)}),
        ("completed_other", "other", before, {"completed_on": date(2022, 4, 1), "is_paid": True}),
        ("completed_too_late", "other", before, {"completed_on": date(2022, 9, 5)}),
        ("enrolled_too_late", "other", after, {"is_paid": True}),
    ):
        uni.student(learner, "years", "y22")
        uni.takes(learner, "years-1", "y22", date(2022, 8, 20))
        uni.takes(learner, course, "open", enrolled, **more)
    # Completed long ago, taken up again and given up.
    uni.student("again", "years", "y22")
    uni.takes("again", "years-1", "y22", date(2022, 8, 20))
    uni.takes("again", "other", "open", date(2020, 1, 10), completed_on=date(2020, 2, 10), final_grade=90.0)
    uni.takes("again", "other", "open", date(2022, 5, 1), is_paid=True, dropped_on=date(2022, 6, 1))
    # The second version of years-2 shares one item of ten: from its first day on the open course stacks no more.
    uni.student("revised", "years", "y24")
    uni.takes("revised", "years-1", "y24", date(2024, 8, 20))
    uni.takes("revised", "stackable", "open", date(2023, 9, 4))


def add_last_days(uni: University) -> None:
    """Somebody is active on each of the last days of the data."""
    for day in range(40):
        at = datetime.combine(LAST_DAY - timedelta(day), time(12))
        row = {"learner_id": "gone", "course_id": "years-1", "term_id": "y22", "event_type": "page_view"}
        uni.add("events", event_id=day, **row, occurred_at=at, received_at=at, event_date=at.date())


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    uni = University()
    uni.add("institutions", institution_id="u", institution_name="Uni", time_zone="Europe/Madrid", passing_share=0.5)
    for add in (add_calendars, add_careers, add_shared, add_open_courses, add_last_days):
        add(uni)
    models = CompiledModels(tmp_path_factory.mktemp("calendars"), {"campus": uni.tables})
    with models.built() as connection:
        assert models.failures(connection) == []
        yield connection


def of_learners(marts: duckdb.DuckDBPyConnection, learners: dict, columns: str, program: str | None = None) -> None:
    """Compare columns of mart_learner_program with what is expected of each learner."""
    where = f"and program_key = 'campus:{program}'" if program else ""
    found = {
        key.partition(":")[2]: values[0] if len(values) == 1 else tuple(values)
        for key, *values in marts.execute(
            f"select learner_key, {columns} from marts.mart_learner_program "
            f"where learner_key in (select unnest(?)) {where}",
            [[f"campus:{name}" for name in learners]],
        ).fetchall()
    }
    assert found == learners


def test_every_learner_of_a_program_has_one_row(marts):
    twice = """
        select program_enrollment_key from marts.mart_learner_program group by all having count(*) > 1
    """
    assert marts.execute(twice).fetchall() == []


def test_a_year_later_is_found_in_every_calendar(marts):
    of_learners(
        marts,
        {
            "second_session": (True, "campus:falls:fa23a", "fall"),  # kept in the other session of the window
            "spring_only": (False, "campus:falls:fa23a", "fall"),
            "winter": (True, "campus:winters:w24", "winter"),
            "fifth_quarter": (True, "campus:quarters:q4", None),
            "fourth_quarter": (False, "campus:quarters:q4", None),
        },
        "is_retained, next_term_key, season",
    )


def test_graduates_stay_and_stand_apart_and_who_is_on_leave_is_neither(marts):
    of_learners(
        marts,
        {
            "dropped_on_day_13": ("not_retained", False, False, False),
            "dropped_on_day_14": ("retained", True, True, False),
            "graduate": ("graduated", True, None, True),
            "gone": ("not_retained", False, False, False),
            "on_leave": ("on_leave", None, None, False),
            "newcomer": (None, None, None, None),
        },
        "next_year_state, is_retained, is_retained_without_graduates, is_graduated",
    )


def test_registering_again_is_unknown_until_the_term_has_begun(marts):
    of_learners(
        marts, {"gone": False, "dropped_on_day_13": True, "newcomer": None}, "is_reregistered_next_year", "years"
    )
    # Of the cohort of 2024 nobody is followed, which is no share of 0.
    shares = """
        select first_term_key, count(is_reregistered_next_year), avg(is_reregistered_next_year::integer)
        from marts.mart_learner_program where first_term_key = 'campus:years:y24' group by all
    """
    assert marts.execute(shares).fetchall() == [("campus:years:y24", 0, None)]


def test_a_drop_stays_a_drop_though_the_learner_came_back(marts):
    of_learners(
        marts,
        # No deadline is told: nobody drops after it.
        {"back_again": (1, 1, None), "changed_plans": (1, 0, None)},
        "courses_enrolled_count, courses_dropped_count, has_drop_after_deadline",
    )
    registrations = """
        select registration_number, registered_on, unregistered_on, returned_on, completed_on
        from core.fct_course_registration where learner_key = 'campus:back_again' order by 1
    """
    assert marts.execute(registrations).fetchall() == [
        (1, date(2022, 8, 20), date(2022, 10, 1), date(2022, 10, 9), None),
        (2, date(2022, 10, 9), None, None, date(2022, 12, 11)),
    ]
    enrollment = """
        select registered_on, unregistered_on, last_dropped_on, completed_on, outcome
        from core.fct_course_enrollment where learner_key = 'campus:back_again'
    """
    assert marts.execute(enrollment).fetchall() == [
        (date(2022, 8, 20), None, date(2022, 10, 1), date(2022, 12, 11), "pass")
    ]
    # Between 1 and 9 October they were out: in week 4, which ends on 3 October, and not in week 5.
    weeks = """
        select week_number, is_enrolled from marts.mart_learner_course_week
        where learner_key = 'campus:back_again' and week_number between 3 and 5 order by 1
    """
    assert marts.execute(weeks).fetchall() == [(3, True), (4, False), (5, True)]


def test_programs_with_the_same_codes_have_terms_of_their_own(marts):
    terms = """
        select program_key, term_id, starts_on from core.dim_term
        where program_key in ('campus:x', 'campus:y') order by 1, 2
    """
    assert marts.execute(terms).fetchall() == [
        ("campus:x", "2021F", date(2021, 9, 6)),
        ("campus:x", "2022F", date(2022, 9, 5)),
        ("campus:x", "2023F", date(2023, 9, 4)),
        ("campus:y", "2021F", date(2021, 10, 4)),
        ("campus:y", "2022F", date(2022, 10, 3)),
        ("campus:y", "2023F", date(2023, 10, 2)),
    ]
    # Falls, winters, quarters, years and the two with colons have the institution's term too.
    count = "select count(*) from core.dim_term where term_id = '2021F' and starts_on = '2021-10-04'"
    assert marts.execute(count).fetchall() == [(7,)]


def test_ids_with_colons_make_keys_of_their_own(marts):
    keys = "select term_key, program_key from core.dim_term where term_id in ('d:e', 'e') order by 1"
    assert marts.execute(keys).fetchall() == [
        ("campus:c%3Ad:e", "campus:c%3Ad"),
        ("campus:c:d%3Ae", "campus:c"),
    ]


def test_an_enrollment_belongs_to_the_day_of_the_program(marts):
    of_learners(marts, {"evening": (date(2022, 10, 2), 1)}, "first_registered_on, registration_lead_days")


def test_a_course_of_two_programs_counts_in_each(marts):
    of_learners(marts, {"both": (1, False)}, "courses_enrolled_count, is_retained", "x")
    of_learners(marts, {"both": (1, True), "shares": (1, True)}, "courses_enrolled_count, is_retained", "y")
    rows = """
        select program_enrollment_key, is_retained from marts.mart_retention_learner_course
        where course_key = 'campus:statistics' order by 1
    """
    assert marts.execute(rows).fetchall() == [
        ("campus:both:x", False),
        ("campus:both:y", True),
        ("campus:shares:y", True),
    ]
    counts = "select program_key, course_count from marts.mart_program where program_key in ('campus:x', 'campus:y')"
    assert marts.execute(f"{counts} order by 1").fetchall() == [("campus:x", 1), ("campus:y", 2)]


def test_pass_mark_and_time_zone_are_those_of_the_course_the_program_or_the_institution(marts):
    marks = "select course_key, passing_share from core.dim_course where course_key in (select unnest(?)) order by 1"
    courses = [f"campus:{name}" for name in ("y-1", "statistics", "years-1", "other")]
    assert marts.execute(marks, [courses]).fetchall() == [
        ("campus:other", 0.5),
        ("campus:statistics", 0.6),
        ("campus:y-1", 0.7),
        ("campus:years-1", 0.5),
    ]
    zones = (
        "select program_key, time_zone, passing_share from core.dim_program where program_id in ('x', 'y') order by 1"
    )
    assert marts.execute(zones).fetchall() == [("campus:x", "Europe/Madrid", 0.6), ("campus:y", "America/Lima", 0.5)]


def test_enrollments_in_what_is_unknown_are_listed(marts):
    held = """
        select missing_reference, row_count, example_key from core.fct_held_rows
        where entity = 'program_enrollments' order by 1
    """
    assert marts.execute(held).fetchall() == [
        ("programs", 1, "campus:nowhere:z"),
        ("terms", 1, "campus:never:x"),
    ]


def test_open_courses_before_the_degree_are_told_as_printed_and_apart(marts):
    of_learners(
        marts,
        {
            # Enrolled, paid, completed as printed; stackable; the driver; paid without completion.
            "completed_stackable": (True, False, True, True, False, False),
            "completed_twice_two": (True, False, True, False, True, False),
            "completed_other": (True, True, True, False, True, False),
            "completed_too_late": (True, False, False, False, False, False),
            "enrolled_too_late": (False, False, False, False, False, False),
            "again": (True, True, True, False, True, False),
            "revised": (True, False, False, False, False, False),
        },
        "has_open_enrollment_any, has_open_paid_enrollment_any, has_open_completion_any, has_stackable_enrollment, "
        "has_open_completion, has_open_paid_not_completed",
    )
    shares = """
        select open_course_key, shared_item_share, is_stackable from core.dim_stackable_course order by 1
    """
    assert marts.execute(shares).fetchall() == [
        ("campus:stackable", 0.3, True),
        ("campus:twice_two", 0.2, False),
    ]


def test_open_courses_are_completed_or_not_so_far_and_never_late(marts):
    courses = """
        select course_key, completed_count, not_completed_count, completed_share, passed_share, final_outcome_count,
            mean_on_time_share
        from marts.mart_course_term where course_key in ('campus:stackable', 'campus:other') order by 1
    """
    assert marts.execute(courses).fetchall() == [
        ("campus:other", 3, 1, 0.75, None, None, None),
        ("campus:stackable", 1, 1, 0.5, None, None, None),
    ]


def test_a_course_that_runs_has_no_shares_of_outcomes_yet(marts):
    terms = """
        select course_offering_key, learner_count, final_outcome_count, running_count, withdrawn_count, passed_share,
            withdrawn_share
        from marts.mart_course_term where course_key = 'campus:years-1' and learner_count > 0 order by 1
    """
    # 2022: one passed, and of 12 others nothing is told. 2023: both dropped it. 2024 goes on until 8 December.
    assert marts.execute(terms).fetchall() == [
        ("campus:years-1:y22", 13, 1, 12, 0, 1.0, 0.0),
        ("campus:years-1:y23", 2, 2, 0, 2, 0.0, 1.0),
        ("campus:years-1:y24", 2, 0, 1, 1, None, None),
    ]


def test_a_course_that_has_just_ended_waits_for_the_outcomes_of_those_who_stayed(marts):
    waiting = """
        select final_outcome_count, running_count, withdrawn_count, withdrawn_share
        from marts.mart_course_term where course_key = 'campus:years-4'
    """
    assert marts.execute(waiting).fetchall() == [(0, 1, 1, None)]


def test_courses_without_deadlines_say_nothing_of_being_late(marts):
    late = """
        select count(*), count(late_item_count), count(on_time_share), count(mean_submission_lead_days),
            count(is_first_on_time)
        from marts.mart_learner_course where course_key = 'campus:years-1'
    """
    ((rows, *told),) = marts.execute(late).fetchall()
    assert rows > 0
    assert told == [0, 0, 0, 0]
