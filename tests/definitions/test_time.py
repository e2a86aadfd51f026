"""Time: where the data end, what a day is, and how learning time is counted."""

import pytest

from tests.definitions.university import University, later

HOURS = "mart_learner_course.learning_hours"
END = "dim_source.last_data_on"


def _class(name: str, rows_on_the_last_day: int) -> University:
    """40 events on each of the 28 days from 8 January to 4 February 2024, and some on 5 February."""
    university = University(name)
    university.given("terms", "term_id starts_on \n S24 2024-01-08")
    university.given("program_enrollments", "learner_id first_term_id \n ana S24")
    university.enrolled("learner_id course_id term_id \n ana algebra S24")
    for days, rows in [*((days, 40) for days in range(28)), (28, rows_on_the_last_day)]:
        for minute in range(rows):
            at = f"{later('2024-01-08', days)}T12:{minute:02}"
            university.add("events", learner_id="ana", course_id="algebra", occurred_at=at)
    return university


# The median of the 28 days is 40 events, and 5 % of it are 2. On 5 February there is 1: the data end on the 4th.
straggler = _class("straggler", 1)
# There are 2, which is 5 %: the data end on the 5th.
twentieth = _class("twentieth", 2)


def test_a_day_with_less_than_a_twentieth_of_the_usual_rows_is_not_the_end(built):
    """
    Definitions, Time: "The data's end of a source is the last day with at least 5 % of the source's median daily rows
    of the 28 days with data before it"
    """
    assert str(built.value(straggler, END)) == "2024-02-04"
    assert str(built.value(twentieth, END)) == "2024-02-05"


# The year of those who started in F22 ends with the deadline of F23, 18 September 2023; the data end on 10 September.
# One device says 2037 when it sends on 8 September, one server does too. A term begins in 2024 and a paper is due in
# it. None of that moves the end: whether ana is retained is not known.
clocks = University("clocks", until="2023-09-10")
clocks.given(
    "terms",
    """
    term_id  starts_on   drop_deadline_on
    F22      2022-09-05  2022-09-19
    F23      2023-09-04  2023-09-18
    F24      2024-09-02  2024-09-16
    """,
)
clocks.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
clocks.enrolled("learner_id course_id term_id \n ana algebra F22 \n ben algebra F22 \n ben algebra F23")
clocks.items("algebra", "item_id kind weight due_day \n paper staff_graded 1.0 90")
clocks.events(
    """
    learner_id  course_id  term_id  occurred_at       received_at
    ana         algebra    F22      2037-01-01T00:00  2023-09-08T12:00
    ana         algebra    F22      2037-01-02T00:00  2037-01-02T00:00
    """
)


def test_a_device_in_2037_moves_nothing(built):
    """
    Definitions, Time: "by received time where that is delivered, else by event time; never later than the load; in
    the source's zone. A device clock in 2037, a term that begins next year, a due date in the future move nothing."
    Definitions, Time: "Every "has it matured?" asks this one date."
    """
    assert str(built.value(clocks, END)) == "2023-09-10"
    for learner in ("ana", "ben"):
        assert built.value(clocks, "mart_learner_program.is_retained", learner=learner) is None


# A program in Lima (5 hours behind UTC). ana learns on the evening of Tuesday 5 March 2024, from 18:30 to 19:10 in
# Lima, which is 23:30 of the 5th to 00:10 of the 6th in UTC: one day, with both of her tasks and 40 minutes.
# On Sunday 10 March, the due day (day 6 of the course that begins on the 4th), she hands in at 23:30 in Lima, which
# is 04:30 of the 11th in UTC: in time.
# She leaves the course logic at 23:00 on 18 March in Lima: the delivery says the 18th, which is the deadline.
lima = University("lima", until="2024-06-30")
lima.given("programs", "program_id time_zone \n msc America/Lima")
lima.given("terms", "term_id starts_on drop_deadline_on \n S24 2024-03-04 2024-03-18")
lima.given("program_enrollments", "learner_id first_term_id \n ana S24")
lima.enrolled("learner_id course_id term_id dropped_on \n ana algebra S24 - \n ana logic S24 2024-03-18")
lima.items("algebra", "item_id kind weight due_day \n film video - - \n test quiz 1.0 6")
lima.events(
    """
    learner_id  course_id  item_id  occurred_at
    ana         algebra    film     2024-03-05T23:30
    ana         algebra    film     2024-03-05T23:50
    ana         algebra    film     2024-03-06T00:10
    """
)
lima.given("submissions", "learner_id course_id item_id submitted_at \n ana algebra test 2024-03-11T04:30")


def test_an_evening_in_lima_is_one_day(built):
    """
    Definitions, Time: "A day is a day in the program's time zone (IANA name, default the source's, else UTC), for all
    its learners; events are stored in UTC and counted by that date"
    Definitions, Time: "An evening in a program of Lima is one day."
    """
    assert built.value(lima, "mart_learner_course.active_days", learner="ana", course="algebra") == 1
    assert built.value(lima, "mart_learner_course.days_active", learner="ana", course="algebra") == 1
    assert {str(row["activity_on"]) for row in built.rows(lima, "fct_daily_activity", learner="ana")} == {"2024-03-05"}
    assert built.value(lima, HOURS, learner="ana", course="algebra") == pytest.approx(40 / 60)


def test_a_paper_handed_in_before_midnight_in_lima_is_in_time(built):
    """
    Definitions, Time: "drop and due days are in the same zone."
    """
    assert built.value(lima, "mart_learner_course.is_first_on_time", learner="ana", course="algebra") is True
    assert built.value(lima, "mart_learner_course.late_item_count", learner="ana", course="algebra") == 0
    assert built.value(lima, "mart_learner_program.has_drop_after_deadline", learner="ana") is False


# The institution is in Tokyo (9 hours ahead of UTC); its mba is taught from Dublin (in winter UTC) and says so.
# An event at 20:00 UTC on 5 February 2024 is at 05:00 on the 6th in Tokyo, and on the 5th in Dublin.
tokyo = University("tokyo", until="2024-06-30", institution={"time_zone": "Asia/Tokyo"})
tokyo.given("programs", "program_id time_zone \n msc - \n mba Europe/Dublin")
tokyo.given("terms", "program_id term_id starts_on \n msc S24 2024-01-15 \n mba S24 2024-01-15")
tokyo.given("courses", "course_id program_id \n algebra msc \n finance mba")
tokyo.given("program_enrollments", "learner_id program_id first_term_id \n ana msc S24 \n ben mba S24")
tokyo.enrolled("learner_id course_id term_id \n ana algebra S24 \n ben finance S24")
tokyo.events(
    """
    learner_id  course_id  occurred_at
    ana         algebra    2024-02-05T20:00
    ben         finance    2024-02-05T20:00
    """
)


def test_a_program_without_a_zone_keeps_that_of_its_source(built):
    """
    Definitions, Time: "A day is a day in the program's time zone (IANA name, default the source's, else UTC), for all
    its learners; events are stored in UTC and counted by that date"
    """
    assert str(built.value(tokyo, "fct_daily_activity.activity_on", learner="ana")) == "2024-02-06"
    assert str(built.value(tokyo, "fct_daily_activity.activity_on", learner="ben")) == "2024-02-05"


# New York goes from 5 to 4 hours behind UTC on 10 March 2024. 04:30 UTC is 23:30 of the evening before on the 9th, and
# half past midnight of the same day on the 11th: the days are the 8th and the 11th.
new_york = University("new_york", until="2024-06-30")
new_york.given("programs", "program_id time_zone \n msc America/New_York")
new_york.given("terms", "term_id starts_on \n S24 2024-03-04")
new_york.given("program_enrollments", "learner_id first_term_id \n ana S24")
new_york.enrolled("learner_id course_id term_id \n ana algebra S24")
new_york.events("learner_id course_id occurred_at \n ana algebra 2024-03-09T04:30 \n ana algebra 2024-03-11T04:30")


def test_a_day_follows_summer_time(built):
    """
    Definitions, Time: "A day is a day in the program's time zone (IANA name, default the source's, else UTC), for all
    its learners; events are stored in UTC and counted by that date"
    """
    days = {str(row["activity_on"]) for row in built.rows(new_york, "fct_daily_activity", learner="ana")}
    assert days == {"2024-03-08", "2024-03-11"}


# The institution is in Lima. Its data end with events at 02:00 UTC on 1 July, which is 21:00 of 30 June there.
# The term begins on 4 March. At 02:00 UTC of that day, on the evening before in Lima, ana enrolls in an open course
# and in algebra, one day ahead of the start, and opens a ticket, which is not in the term yet.
evening_before = University("evening_before", institution={"time_zone": "America/Lima"})
evening_before.given("terms", "term_id starts_on \n S24 2024-03-04")
evening_before.given("program_enrollments", "learner_id first_term_id \n ana S24")
evening_before.enrolled(
    "learner_id course_id term_id enrolled_at \n ana algebra S24 2024-03-04T02:00 \n ana intro open 2024-03-04T02:00"
)
evening_before.given("support_tickets", "learner_id program_id opened_at \n ana msc 2024-03-04T02:00")
for days in range(10):
    evening_before.add("events", learner_id="ana", course_id="intro", occurred_at=f"{later('2024-07-01', -days)}T02:00")


def test_the_evening_before_the_first_day_is_before_it(built):
    """
    Definitions, Time: "A day is a day in the program's time zone (IANA name, default the source's, else UTC), for all
    its learners; events are stored in UTC and counted by that date"
    """
    assert built.value(evening_before, "mart_learner_program.has_open_enrollment_any", learner="ana") is True
    assert built.value(evening_before, "mart_learner_program.registration_lead_days", learner="ana") == 1
    assert built.value(evening_before, "mart_learner_program.has_support_ticket", learner="ana") is False


def test_the_data_end_on_a_day_of_the_source(built):
    """
    Definitions, Time: "by received time where that is delivered, else by event time; never later than the load; in
    the source's zone. A device clock in 2037, a term that begins next year, a due date in the future move nothing."
    """
    assert str(built.value(evening_before, END)) == "2024-06-30"


# ana, two courses side by side (gaps in minutes, each given to the course of the event before it):
#   10:00 algebra, 10 -> algebra;  10:10 logic, 10 -> logic;  10:20 algebra, 10 -> algebra;  10:30 logic, the end.
#   algebra 20 minutes, logic 10; together the half hour that she spent.
# ben, one course: 10:00, 10:30 (a pause of 30 minutes, the cap: counts), 11:01 (31 minutes: a new session), 11:06.
#   30 + 5 = 35 minutes.
# dan, an open course in the middle of a degree course: 10:00 algebra, 10:10 intro, 10:25 algebra.
#   10 minutes of algebra, 15 of intro.
# cleo, over midnight: 23:50 on 5 March, 00:10 on the 6th: 10 minutes on each day.
hours = University("hours", until="2024-06-30")
hours.given("terms", "term_id starts_on \n S24 2024-03-04")
hours.given("program_enrollments", "learner_id first_term_id \n ana S24 \n ben S24 \n cleo S24 \n dan S24")
hours.enrolled(
    """
    learner_id  course_id  term_id
    ana         algebra    S24
    ana         logic      S24
    ben         algebra    S24
    cleo        algebra    S24
    dan         algebra    S24
    dan         intro      open
    """
)
hours.events(
    """
    learner_id  course_id  occurred_at
    ana         algebra    2024-03-05T10:00
    ana         logic      2024-03-05T10:10
    ana         algebra    2024-03-05T10:20
    ana         logic      2024-03-05T10:30
    ben         algebra    2024-03-05T10:00
    ben         algebra    2024-03-05T10:30
    ben         algebra    2024-03-05T11:01
    ben         algebra    2024-03-05T11:06
    cleo        algebra    2024-03-05T23:50
    cleo        algebra    2024-03-06T00:10
    dan         algebra    2024-03-05T10:00
    dan         intro      2024-03-05T10:10
    dan         algebra    2024-03-05T10:25
    """
)


def test_each_gap_is_given_once_to_the_course_of_the_event_that_opens_it(built):
    """
    Definitions, Time: "Learning time: sessions of the learner over all that they do, cut by the idle cap, each gap
    counted once and given to the course of the event that opens it."
    Definitions, Time: "Two courses in parallel never make more than 24 hours a day; the sum over courses equals the
    learner's total."
    """
    assert built.value(hours, HOURS, learner="ana", course="algebra") == pytest.approx(20 / 60)
    assert built.value(hours, HOURS, learner="ana", course="logic") == pytest.approx(10 / 60)


def test_a_session_goes_through_open_and_degree_courses(built):
    """
    Definitions, Time: "Learning time: sessions of the learner over all that they do, cut by the idle cap, each gap
    counted once and given to the course of the event that opens it."
    """
    assert built.value(hours, HOURS, learner="dan", course="algebra") == pytest.approx(10 / 60)
    assert built.value(hours, HOURS, learner="dan", course="intro") == pytest.approx(15 / 60)


def test_a_pause_longer_than_the_idle_cap_ends_the_session(built):
    """
    Definitions, Time: "Learning time: sessions of the learner over all that they do, cut by the idle cap, each gap
    counted once and given to the course of the event that opens it."
    """
    assert built.value(hours, HOURS, learner="ben") == pytest.approx(35 / 60)


def test_the_minutes_of_a_session_over_midnight_belong_to_their_own_days(built):
    """
    Definitions, Time: "A session may cross midnight; its minutes belong to the day on which they were spent."
    """
    days = dict.fromkeys(("2024-03-05", "2024-03-06"), 0)
    # A day has a row for each day on which something of it became known.
    for row in built.rows(hours, "fct_daily_activity", learner="cleo"):
        days[str(row["activity_on"])] += row["learning_seconds"]
    assert days == {"2024-03-05": 600, "2024-03-06": 600}
    assert built.value(hours, HOURS, learner="cleo") == pytest.approx(20 / 60)


# A course of four weeks from 4 March 2024. ana watches a film on Tuesday of week 1; her telephone sends it in week 3,
# on 19 March. Week 1 closes on 11 March (as_of) and week 2 on 18 March without it; week 3 (25 March) knows it.
late_telephone = University("late_telephone", until="2024-06-30")
late_telephone.given("terms", "term_id starts_on ends_on \n S24 2024-03-04 2024-03-31")
late_telephone.given("program_enrollments", "learner_id first_term_id \n ana S24")
late_telephone.enrolled("learner_id course_id term_id \n ana algebra S24 \n ben algebra S24")
late_telephone.items("algebra", "item_id kind \n film video")
late_telephone.events(
    """
    learner_id  course_id  item_id  occurred_at       received_at
    ana         algebra    film     2024-03-05T10:00  2024-03-19T10:00
    ben         algebra    film     2024-03-05T10:00  2024-03-05T10:00
    ben         algebra    film     2024-03-05T10:20  2024-03-19T10:00
    ben         algebra    film     2024-03-05T10:40  2024-03-05T10:40
    """
)


def test_a_week_knows_nothing_that_arrived_after_it(built):
    """
    Definitions, Time: "Known at: nothing later than a row's as_of enters it"
    """
    days = [
        built.value(late_telephone, "mart_learner_course_week.active_days", learner="ana", week_number=week)
        for week in (1, 2, 3)
    ]
    assert days == [0, 0, 1]
    minutes = [
        built.value(late_telephone, "mart_learner_course_week.learning_minutes", learner="ben", week_number=week)
        for week in (1, 2, 3)
    ]
    assert minutes == pytest.approx([0, 0, 40])
