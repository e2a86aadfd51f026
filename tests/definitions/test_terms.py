"""Terms and programs: who came back a year later, on calendars of many kinds."""

from tests.definitions.university import University

RETAINED = "mart_learner_program.is_retained"
NEXT = "mart_learner_program.next_term_key"

# A year of two terms. The first term of the five is F22; a year later is F23, which may be left until 18 September.
# ana takes a course in F23: there.          ben takes one in S23 only: not there a year later.
# cleo leaves on the last day of the deadline: gone.  dan leaves on the day after it: kept a course past it.
# eve never comes back. fay starts in S23, whose year ends in S24 (2024-01-15), and comes back then.
one_year = University("one_year", until="2024-06-30")
one_year.given(
    "terms",
    """
    term_id  season  starts_on   drop_deadline_on
    F22      fall    2022-09-05  2022-09-19
    S23      spring  2023-01-16  2023-01-30
    F23      fall    2023-09-04  2023-09-18
    S24      spring  2024-01-15  2024-01-29
    """,
)
one_year.given(
    "program_enrollments",
    """
    learner_id  first_term_id
    ana         F22
    ben         F22
    cleo        F22
    dan         F22
    eve         F22
    fay         S23
    """,
)
one_year.enrolled(
    """
    learner_id  course_id  term_id  dropped_on
    ana         algebra    F22      -
    ana         logic      F23      -
    ben         algebra    F22      -
    ben         logic      S23      -
    cleo        algebra    F22      -
    cleo        logic      F23      2023-09-18
    dan         algebra    F22      -
    dan         logic      F23      2023-09-19
    eve         algebra    F22      -
    fay         algebra    S23      -
    fay         logic      S24      -
    """
)


def test_retained_is_a_course_in_the_term_that_starts_a_year_after_the_first(built):
    """
    Report p. 5: "We define first-year retention as a student who is actively enrolled in coursework in the term that
    starts one year after their first term of enrollment."
    """
    assert built.value(one_year, RETAINED, learner="ana") is True
    assert built.value(one_year, RETAINED, learner="eve") is False
    assert built.value(one_year, RETAINED, learner="fay") is True
    assert built.value(one_year, NEXT, learner="ana") == "F23"


def test_coming_back_in_another_term_of_the_year_is_not_retention(built):
    """
    Report p. 5: "For example, for students starting in the fall, we examine their degree course experiences in the
    first term until winter break and then assess if these same students are active in the program the following fall
    term."
    """
    assert built.value(one_year, RETAINED, learner="ben") is False


def test_a_course_is_kept_when_it_was_not_dropped_by_the_deadline(built):
    """
    Definitions, Terms and programs: "First-year retention = kept a course of the program in any term of the window:
    enrolled and not dropped by its drop deadline"
    """
    assert built.value(one_year, RETAINED, learner="cleo") is False
    assert built.value(one_year, RETAINED, learner="dan") is True


# No deadlines are delivered. F23 begins on Monday 4 September; its first 14 days are the 4th to the 17th.
# ana leaves on the 17th, within them: gone. ben leaves on the 18th: kept the course for 14 days.
no_deadline = University("no_deadline", until="2023-12-31")
no_deadline.given(
    "terms",
    """
    term_id  starts_on   drop_deadline_on
    F22      2022-09-05  -
    F23      2023-09-04  -
    """,
)
no_deadline.given(
    "program_enrollments",
    """
    learner_id  first_term_id
    ana         F22
    ben         F22
    """,
)
no_deadline.enrolled(
    """
    learner_id  course_id  term_id  dropped_on
    ana         algebra    F22      -
    ana         logic      F23      2023-09-17
    ben         algebra    F22      -
    ben         logic      F23      2023-09-18
    """
)


def test_without_a_deadline_a_course_is_kept_for_its_first_14_days(built):
    """
    Definitions, Terms and programs: "no deadline delivered: not dropped within its first 14 days, a documented
    setting"
    """
    assert built.value(no_deadline, RETAINED, learner="ana") is False
    assert built.value(no_deadline, RETAINED, learner="ben") is True
    # Without a deadline no drop is one after it.
    assert built.value(no_deadline, "mart_learner_program.has_drop_after_deadline", learner="ana") is None


def _until(name: str, until: str) -> University:
    """Terms and learners whose year ends with the deadline of F23, 18 September; data until a day."""
    university = University(name, until=until)
    university.given(
        "terms",
        """
        term_id  starts_on   drop_deadline_on
        F22      2022-09-05  2022-09-19
        F23      2023-09-04  2023-09-18
        """,
    )
    university.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
    university.enrolled("learner_id course_id term_id \n ana algebra F22 \n ana logic F23 \n ben algebra F22")
    return university


# The data end on the deadline itself: who leaves on that day may not have been delivered yet. A day later it is known.
on_the_deadline = _until("on_the_deadline", "2023-09-18")
past_the_deadline = _until("past_the_deadline", "2023-09-19")


def test_retention_is_unknown_until_the_data_pass_the_deadline(built):
    """
    Definitions, Terms and programs: "Known when the data's end has passed the last such day."
    """
    for learner in ("ana", "ben"):
        assert built.value(on_the_deadline, RETAINED, learner=learner) is None
    assert built.value(past_the_deadline, RETAINED, learner="ana") is True
    assert built.value(past_the_deadline, RETAINED, learner="ben") is False


# Two falls in a year, four weeks apart. Gaps between the starts: 28, 119, 217, 28, 119 days; the median is 119, its
# half 59.5. A year after F1-22 is 2023-09-05: the window is 59 days around it and holds F1-23 (1 day before) and
# F2-23 (27 days after). ana comes back in the second of them: one row, retained. ben comes back in the spring: not.
# A year after F2-22 is 2023-10-03: F1-23 (29 days before) and F2-23 (1 day before). cleo comes back in F1-23: retained.
TWO_FALLS = """
    term_id  season  starts_on   drop_deadline_on
    F1-22    fall    2022-09-05  2022-09-16
    F2-22    fall    2022-10-03  2022-10-14
    S-23     spring  2023-01-30  2023-02-10
    F1-23    fall    2023-09-04  2023-09-15
    F2-23    fall    2023-10-02  2023-10-13
    S-24     spring  2024-01-29  2024-02-09
    """
two_falls = University("two_falls", until="2024-06-30")
two_falls.given("terms", TWO_FALLS)
two_falls.given("program_enrollments", "learner_id first_term_id \n ana F1-22 \n ben F1-22 \n cleo F2-22")
two_falls.enrolled(
    """
    learner_id  course_id  term_id
    ana         algebra    F1-22
    ana         logic      F2-23
    ben         algebra    F1-22
    ben         logic      S-24
    cleo        algebra    F2-22
    cleo        logic      F1-23
    """
)
# The same, and the data end between the two deadlines: nobody's year is over, not even that of ana, who has kept F1-23.
between_two_falls = University("between_two_falls", until="2023-10-05")
between_two_falls.given("terms", TWO_FALLS)
between_two_falls.given("program_enrollments", "learner_id first_term_id \n ana F1-22")
between_two_falls.enrolled("learner_id course_id term_id \n ana algebra F1-22 \n ana logic F1-23")


def test_two_sessions_in_one_fall_are_one_window_and_one_row_a_learner(built):
    """
    Definitions, Terms and programs: "Seasons are words of the source. Two sessions in one fall, quarters, eight-week
    blocks, a "winter" that begins on 30 December, a program without a summer: all are ordinary."
    Definitions, Terms and programs: "the window = the program's terms that start within ± 60 days of the first term's
    start + 365 days"
    """
    assert len(built.rows(two_falls, "mart_learner_program", learner="ana")) == 1
    assert built.value(two_falls, RETAINED, learner="ana") is True
    assert built.value(two_falls, RETAINED, learner="ben") is False
    assert built.value(two_falls, RETAINED, learner="cleo") is True


def test_the_last_deadline_of_the_window_decides_when_retention_is_known(built):
    """
    Definitions, Terms and programs: "Known when the data's end has passed the last such day."
    """
    assert built.value(between_two_falls, RETAINED, learner="ana") is None


def test_the_nearest_of_two_required_terms_is_the_next_one(built):
    """
    Definitions, Terms and programs: "next_term_key = the required one of them, then the nearest."
    """
    assert built.value(two_falls, NEXT, learner="ana") == "F1-23"
    assert built.value(two_falls, NEXT, learner="cleo") == "F2-23"


# The first fall of 2023 is optional: the required one goes before the nearer one.
required_later = University("required_later", until="2024-06-30")
required_later.given(
    "terms",
    """
    term_id  season  starts_on   is_required
    F1-22    fall    2022-09-05  true
    F2-22    fall    2022-10-03  true
    S-23     spring  2023-01-30  true
    F1-23    fall    2023-09-04  false
    F2-23    fall    2023-10-02  true
    """,
)
required_later.given("program_enrollments", "learner_id first_term_id \n ana F1-22")
required_later.enrolled("learner_id course_id term_id \n ana algebra F1-22 \n ana logic F1-23")


def test_a_required_term_of_the_window_goes_before_a_nearer_one(built):
    """
    Definitions, Terms and programs: "next_term_key = the required one of them, then the nearest."
    """
    assert built.value(required_later, NEXT, learner="ana") == "F2-23"
    # Kept a course in *any* term of the window, be it the optional one.
    assert built.value(required_later, RETAINED, learner="ana") is True


# Blocks of eight weeks. Gaps: 56, 84, 56, 168, 56; the median is 56, its half 28, and the window at least 30 days.
# A year after A22 is 2023-08-29: A23 (1 day before) is in the window, B23 (55 days after) is not, though it is
# within 60 days. ana comes back in A23: retained. ben comes back in B23 only: not.
blocks = University("blocks", until="2024-03-31")
blocks.given(
    "terms",
    """
    term_id  season    starts_on   ends_on     drop_deadline_on
    A22      autumn-1  2022-08-29  2022-10-23  2022-09-05
    B22      autumn-2  2022-10-24  2022-12-18  2022-10-31
    C23      spring-1  2023-01-16  2023-03-12  2023-01-23
    D23      spring-2  2023-03-13  2023-05-07  2023-03-20
    A23      autumn-1  2023-08-28  2023-10-22  2023-09-04
    B23      autumn-2  2023-10-23  2023-12-17  2023-10-30
    """,
)
blocks.given("program_enrollments", "learner_id first_term_id \n ana A22 \n ben A22")
blocks.enrolled("learner_id course_id term_id \n ana algebra A22 \n ana logic A23 \n ben algebra A22 \n ben logic B23")


def test_in_blocks_of_eight_weeks_the_window_is_thirty_days(built):
    """
    Definitions, Terms and programs: "at most half the median gap between the program's starts (at least ± 30)"
    """
    assert built.value(blocks, RETAINED, learner="ana") is True
    assert built.value(blocks, RETAINED, learner="ben") is False
    assert built.value(blocks, "mart_learner_program.season", learner="ana") == "autumn-1"


# Quarters. Gaps: 105, 84, 91, 84; the median is 87.5, its half 43.75. A year after Q1-22 is 2023-09-26: Q1-23 (1 day
# before). ana comes back then; ben did in the quarter before (Q4-23, 85 days earlier) and not then.
quarters = University("quarters", until="2024-03-31")
quarters.given(
    "terms",
    """
    term_id  season  starts_on   is_required
    Q1-22    q1      2022-09-26  true
    Q2-23    q2      2023-01-09  true
    Q3-23    q3      2023-04-03  true
    Q4-23    q4      2023-07-03  false
    Q1-23    q1      2023-09-25  true
    """,
)
quarters.given("program_enrollments", "learner_id first_term_id \n ana Q1-22 \n ben Q1-22")
quarters.enrolled(
    "learner_id course_id term_id \n ana algebra Q1-22 \n ana logic Q1-23 \n ben algebra Q1-22 \n ben logic Q4-23"
)


def test_quarters_are_an_ordinary_calendar(built):
    """
    Definitions, Terms and programs: "Seasons are words of the source. Two sessions in one fall, quarters, eight-week
    blocks, a "winter" that begins on 30 December, a program without a summer: all are ordinary."
    """
    assert built.value(quarters, RETAINED, learner="ana") is True
    assert built.value(quarters, RETAINED, learner="ben") is False


# A winter term that begins on 30 December 2022; the next one begins on 3 January, of the second calendar year after.
# A year after the start is 2023-12-30: W24 is 4 days later. ana comes back in it; ben in the fall only.
winter = University("winter", until="2024-06-30")
winter.given(
    "terms",
    """
    term_id  season  starts_on   drop_deadline_on
    W22      winter  2022-12-30  2023-01-13
    F23      fall    2023-09-04  2023-09-18
    W24      winter  2024-01-03  2024-01-17
    """,
)
winter.given("program_enrollments", "learner_id first_term_id \n ana W22 \n ben W22")
winter.enrolled("learner_id course_id term_id \n ana algebra W22 \n ana logic W24 \n ben algebra W22 \n ben logic F23")


def test_a_winter_that_begins_before_new_year_has_a_winter_a_year_later(built):
    """
    Definitions, Terms and programs: "Seasons are words of the source. Two sessions in one fall, quarters, eight-week
    blocks, a "winter" that begins on 30 December, a program without a summer: all are ordinary."
    """
    assert built.value(winter, NEXT, learner="ana") == "W24"
    assert built.value(winter, RETAINED, learner="ana") is True
    assert built.value(winter, RETAINED, learner="ben") is False


# A summer was offered once. A year after Su22 is 2023-06-06; within 60 days of it (7 April to 5 August) nothing
# begins: the next required term is F23. ana is there; ben came in S23 and not then.
no_summer = University("no_summer", until="2024-03-31")
no_summer.given(
    "terms",
    """
    term_id  season  starts_on   drop_deadline_on
    Su22     summer  2022-06-06  2022-06-20
    F22      fall    2022-09-05  2022-09-19
    S23      spring  2023-01-16  2023-01-30
    F23      fall    2023-09-04  2023-09-18
    """,
)
no_summer.given("program_enrollments", "learner_id first_term_id \n ana Su22 \n ben Su22")
no_summer.enrolled(
    "learner_id course_id term_id \n ana algebra Su22 \n ana logic F23 \n ben algebra Su22 \n ben logic S23"
)


def test_where_no_term_begins_a_year_later_the_next_required_one_counts(built):
    """
    Definitions, Terms and programs: "An empty window: the next required term (any term, where the flag is not
    delivered); none yet: unknown."
    """
    assert built.value(no_summer, NEXT, learner="ana") == "F23"
    assert built.value(no_summer, RETAINED, learner="ana") is True
    assert built.value(no_summer, RETAINED, learner="ben") is False


# A year after F22 is 2023-09-05, and nothing begins within 60 days. The next term is W24, which is optional; the next
# required one is S24. ana comes in W24 only: not retained. ben comes in S24: retained.
after_a_pause = University("after_a_pause", until="2024-06-30")
# The same terms without the flag: any term counts, and so W24 does.
flag_not_told = University("flag_not_told", until="2024-06-30")
# And no term after the pause is known yet.
no_term_yet = University("no_term_yet", until="2024-06-30")
for university, required, optional in ((after_a_pause, "true", "false"), (flag_not_told, "-", "-")):
    university.given(
        "terms",
        f"""
        term_id  starts_on   drop_deadline_on  is_required
        F22      2022-09-05  2022-09-19        {required}
        W23      2023-01-09  2023-01-23        {optional}
        W24      2024-01-08  2024-01-22        {optional}
        S24      2024-03-04  2024-03-18        {required}
        """,
    )
no_term_yet.given("terms", "term_id starts_on \n F22 2022-09-05 \n W23 2023-01-09")
for university in (after_a_pause, flag_not_told, no_term_yet):
    university.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
    university.enrolled("learner_id course_id term_id \n ana algebra F22 \n ben algebra F22")
for university in (after_a_pause, flag_not_told):
    university.enrolled("learner_id course_id term_id \n ana logic W24 \n ben logic S24")


def test_after_an_empty_window_an_optional_term_does_not_count(built):
    """
    Definitions, Terms and programs: "An empty window: the next required term (any term, where the flag is not
    delivered); none yet: unknown."
    """
    assert built.value(after_a_pause, NEXT, learner="ana") == "S24"
    assert built.value(after_a_pause, RETAINED, learner="ana") is False
    assert built.value(after_a_pause, RETAINED, learner="ben") is True


def test_after_an_empty_window_any_term_counts_where_none_is_said_to_be_required(built):
    """
    Definitions, Terms and programs: "An empty window: the next required term (any term, where the flag is not
    delivered); none yet: unknown."
    """
    assert built.value(flag_not_told, NEXT, learner="ana") == "W24"
    assert built.value(flag_not_told, RETAINED, learner="ana") is True
    assert built.value(flag_not_told, RETAINED, learner="ben") is False
    assert built.value(flag_not_told, "mart_learner_program.is_required_term", learner="ana") is None


def test_without_a_term_after_the_window_retention_is_unknown(built):
    """
    Definitions, Terms and programs: "An empty window: the next required term (any term, where the flag is not
    delivered); none yet: unknown."
    """
    assert built.value(no_term_yet, RETAINED, learner="ana") is None
    assert built.value(no_term_yet, NEXT, learner="ana") is None


# Summers are offered and optional. A year after Su22 is 2023-06-06 and the window holds Su23 alone.
# ana takes a course in Su23: retained. ben comes back in F23: not in the term a year later.
# cleo starts in F22; her year ends in F23, and a summer away changes nothing: retained.
optional_summer = University("optional_summer", until="2024-03-31")
optional_summer.given(
    "terms",
    """
    term_id  season  starts_on   is_required
    Su22     summer  2022-06-06  false
    F22      fall    2022-09-05  true
    S23      spring  2023-01-16  true
    Su23     summer  2023-06-05  false
    F23      fall    2023-09-04  true
    """,
)
optional_summer.given("program_enrollments", "learner_id first_term_id \n ana Su22 \n ben Su22 \n cleo F22")
optional_summer.enrolled(
    """
    learner_id  course_id  term_id
    ana         algebra    Su22
    ana         logic      Su23
    ben         algebra    Su22
    ben         logic      F23
    cleo        algebra    F22
    cleo        logic      F23
    """
)


def test_an_optional_summer_is_the_window_of_those_who_began_in_one(built):
    """
    Definitions, Terms and programs: "First-year retention = kept a course of the program in any term of the window:
    enrolled and not dropped by its drop deadline"
    """
    assert built.value(optional_summer, NEXT, learner="ana") == "Su23"
    assert built.value(optional_summer, RETAINED, learner="ana") is True
    assert built.value(optional_summer, RETAINED, learner="ben") is False
    assert built.value(optional_summer, RETAINED, learner="cleo") is True


def test_required_for_retention_is_what_the_source_says_of_the_first_term(built):
    """
    Report p. 19: "Base Is Required For Retention"
    """
    assert built.value(optional_summer, "mart_learner_program.is_required_term", learner="ana") is False
    assert built.value(optional_summer, "mart_learner_program.is_required_term", learner="cleo") is True


# ana studies in two programs at once. She comes back in one of them: retained in it, not in the other.
two_programs = University("two_programs", until="2024-03-31")
two_programs.given(
    "terms",
    """
    program_id  term_id  starts_on
    msc         M22      2022-09-05
    msc         M23      2023-09-04
    mba         B22      2022-09-12
    mba         B23      2023-09-11
    """,
)
two_programs.given("courses", "course_id program_id \n algebra msc \n finance mba")
two_programs.given("program_enrollments", "learner_id program_id first_term_id \n ana msc M22 \n ana mba B22")
two_programs.enrolled("learner_id course_id term_id \n ana algebra M22 \n ana finance B22 \n ana algebra M23")


def test_a_learner_in_two_programs_has_a_row_in_each(built):
    """
    Definitions, Terms and programs: "Learners in two programs have a row each."
    """
    assert built.value(two_programs, RETAINED, learner="ana", program="msc") is True
    assert built.value(two_programs, RETAINED, learner="ana", program="mba") is False
    assert built.value(two_programs, "mart_learner_program.courses_enrolled_count", learner="ana", program="mba") == 1


# Two programs call their terms 2022F and 2023F, on other days: the msc begins on 5 September, the mba on 3 October.
# ana (msc) and ben (mba) both registered on 1 September: 4 and 32 days before their own program's start.
# Both come back in their own 2023F and leave it on 30 September: after the deadline of the msc (18 September), before
# that of the mba (16 October). ana is retained, ben is not.
same_code = University("same_code", until="2024-03-31")
same_code.given(
    "terms",
    """
    program_id  term_id  starts_on   drop_deadline_on
    msc         2022F    2022-09-05  2022-09-19
    msc         2023F    2023-09-04  2023-09-18
    mba         2022F    2022-10-03  2022-10-17
    mba         2023F    2023-10-02  2023-10-16
    """,
)
same_code.given("courses", "course_id program_id \n algebra msc \n finance mba")
same_code.given("program_enrollments", "learner_id program_id first_term_id \n ana msc 2022F \n ben mba 2022F")
same_code.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at       dropped_on
    ana         algebra    2022F    2022-09-01T12:00  -
    ana         algebra    2023F    2023-09-01T12:00  2023-09-30
    ben         finance    2022F    2022-09-01T12:00  -
    ben         finance    2023F    2023-09-01T12:00  2023-09-30
    """
)


def test_a_term_code_that_two_programs_share_is_two_terms(built):
    """
    Definitions, Terms and programs: "A term belongs to a program, but institutions reuse codes ("2023F" in three
    programs): the key is program × term everywhere"
    """
    assert len(built.rows(same_code, "mart_program")) == 2
    assert built.value(same_code, RETAINED, learner="ana", program="msc") is True
    assert built.value(same_code, RETAINED, learner="ben", program="mba") is False
    assert built.value(same_code, "mart_learner_program.registration_lead_days", learner="ana") == 4
    assert built.value(same_code, "mart_learner_program.registration_lead_days", learner="ben") == 32


# The calendar is the institution's: terms of no program in particular. The mba has a row of its own for 2023F.
# ben (mba) leaves on 30 September 2023: by his program's deadline of 16 October. ana (msc) does so after hers.
shared_calendar = University("shared_calendar", until="2024-03-31")
shared_calendar.given(
    "terms",
    """
    program_id  term_id  starts_on   drop_deadline_on
    -           2022F    2022-09-05  2022-09-19
    -           2023F    2023-09-04  2023-09-18
    mba         2023F    2023-10-02  2023-10-16
    """,
)
shared_calendar.given("courses", "course_id program_id \n algebra msc \n finance mba")
shared_calendar.given("program_enrollments", "learner_id program_id first_term_id \n ana msc 2022F \n ben mba 2022F")
shared_calendar.enrolled(
    """
    learner_id  course_id  term_id  dropped_on
    ana         algebra    2022F    -
    ana         algebra    2023F    2023-09-30
    ben         finance    2022F    -
    ben         finance    2023F    2023-09-30
    """
)


def test_terms_of_the_institution_are_those_of_every_program_without_its_own(built):
    """
    Definitions, Terms and programs: "A term belongs to a program, but institutions reuse codes ("2023F" in three
    programs): the key is program × term everywhere"
    """
    assert built.value(shared_calendar, RETAINED, learner="ana", program="msc") is True
    assert built.value(shared_calendar, RETAINED, learner="ben", program="mba") is False


# Ids with colons: the program `x` has a term `y:F22`, the program `x:y` has one `F22`, which begins four weeks later.
# ana (x) and ben (x:y) registered on 1 September: 4 and 32 days ahead.
colons = University("colons", until="2024-03-31")
colons.given("terms", "program_id term_id starts_on \n x y:F22 2022-09-05 \n x:y F22 2022-10-03")
colons.given("courses", "course_id program_id \n al:gebra x \n finance x:y")
colons.given("program_enrollments", "learner_id program_id first_term_id \n ana x y:F22 \n ben x:y F22")
colons.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at
    ana         al:gebra   y:F22    2022-09-01T12:00
    ben         finance    F22      2022-09-01T12:00
    """
)


def test_ids_with_colons_make_no_two_terms_one(built):
    """
    Definitions, Terms and programs: "A term belongs to a program, but institutions reuse codes ("2023F" in three
    programs): the key is program × term everywhere"
    """
    lead = "mart_learner_program.registration_lead_days"
    assert built.value(colons, lead, learner="ana", program="x") == 4
    assert built.value(colons, lead, learner="ben", program="x:y") == 32


# One term comes twice, with other days.
term_twice = University("term_twice", until="2023-12-31")
term_twice.given("terms", "term_id starts_on \n F22 2022-09-05 \n F22 2022-09-12")
term_twice.given("program_enrollments", "learner_id first_term_id \n ana F22")
term_twice.enrolled("learner_id course_id term_id \n ana algebra F22")


def test_a_term_that_is_delivered_twice_is_told(built):
    """
    Definitions, Terms and programs: "a duplicate in the delivery is told, never merged away"
    """
    assert built.value(term_twice, "fct_duplicate_rows.duplicate_row_count", table_name="terms") == 1


# The msc's first year ends with the deadline of F23, 18 September.
# ana completes the program in June, before it: graduated, not lost. ben completes it the June after that and took
# nothing in F23: by then he had not graduated. cleo neither graduates nor comes back. dan comes back.
# eve graduates and takes one more course.
graduates = University("graduates", until="2024-12-31")
graduates.given(
    "terms",
    """
    term_id  starts_on   drop_deadline_on
    F22      2022-09-05  2022-09-19
    S23      2023-01-16  2023-01-30
    F23      2023-09-04  2023-09-18
    S24      2024-01-15  2024-01-29
    """,
)
graduates.given(
    "program_enrollments",
    """
    learner_id  first_term_id  completed_on
    ana         F22            2023-06-30
    ben         F22            2024-06-30
    cleo        F22            -
    dan         F22            -
    eve         F22            2023-06-30
    """,
)
graduates.enrolled(
    """
    learner_id  course_id  term_id
    ana         algebra    F22
    ana         logic      S23
    ben         algebra    F22
    ben         logic      S24
    cleo        algebra    F22
    dan         algebra    F22
    dan         logic      F23
    eve         algebra    F22
    eve         logic      F23
    """
)


def test_graduates_are_not_lost(built):
    """
    Definitions, Terms and programs: "learners who completed the program by then are not lost. Headline: retained or
    graduated, and beside it the figure without graduates; is_graduated flags them."
    """
    flags = ("is_retained", "is_graduated", "is_retained_without_graduates")

    def row(learner: str) -> tuple:
        return tuple(built.value(graduates, f"mart_learner_program.{flag}", learner=learner) for flag in flags)

    assert row("ana") == (True, True, None)
    assert row("ben") == (False, False, False)
    assert row("cleo") == (False, False, False)
    assert row("dan") == (True, False, True)
    assert row("eve") == (True, True, None)


def test_at_risk_training_leaves_graduates_out(built):
    """
    Definitions, Terms and programs: "Driver effects and at-risk training leave graduates out (as retained: a
    sensitivity row)"
    """
    outcomes = {
        learner: {row["y"] for row in built.rows(graduates, "feature_program_weeks", learner=learner)}
        for learner in ("ana", "cleo", "dan")
    }
    # y: whether the learner was *not* retained.
    assert outcomes["cleo"] == {1}
    assert outcomes["dan"] == {0}
    assert outcomes["ana"] <= {None}


# ana is on leave from August 2023 to January 2024, over the whole of F23: she neither stayed nor left. ben is on leave
# in the spring before it and is back in F23: retained. cleo is on leave in the spring and does not come back: lost.
leave = University("leave", until="2024-06-30")
leave.given("terms", "term_id starts_on \n F22 2022-09-05 \n S23 2023-01-16 \n F23 2023-09-04")
leave.given(
    "program_enrollments",
    """
    learner_id  first_term_id  leave_from_on  leave_to_on
    ana         F22            2023-08-01     2024-01-10
    ben         F22            2023-01-01     2023-05-31
    cleo        F22            2023-01-01     2023-05-31
    dan         F22            2023-08-01     -
    """,
)
leave.enrolled(
    """
    learner_id  course_id  term_id
    ana         algebra    F22
    ben         algebra    F22
    ben         logic      F23
    cleo        algebra    F22
    dan         algebra    F22
    """
)


def test_a_leave_of_absence_is_a_state_of_its_own(built):
    """
    Definitions, Terms and programs: "Leave of absence, where a source tells it, is its own state."
    """
    columns = ("next_year_state", "is_retained")

    def row(learner: str) -> tuple:
        return tuple(built.value(leave, f"mart_learner_program.{column}", learner=learner) for column in columns)

    assert row("ana") == ("on_leave", None)
    assert row("ben") == ("retained", True)
    assert row("cleo") == ("not_retained", False)
    # The leave has no last day: it lasts.
    assert row("dan") == ("on_leave", None)


# Thirty start in F22 and twenty of them are there a year later; ten start in F23, whose year is not over (and no term
# of it is known yet). Of those followed 20 of 30 came back, 2/3; of the ten nothing is known, and that is not 0.
cohorts = University("cohorts", until="2024-03-31")
cohorts.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
for number in range(40):
    first, learner = ("F22", f"a{number}") if number < 30 else ("F23", f"b{number}")
    cohorts.add("program_enrollments", learner_id=learner, first_term_id=first)
    cohorts.add("course_enrollments", learner_id=learner, course_id="algebra", term_id=first)
    if number < 20:
        cohorts.add("course_enrollments", learner_id=learner, course_id="logic", term_id="F23")


def test_a_cohort_whose_year_is_not_over_is_unknown_and_in_no_share(built):
    """
    Definitions, Time: "Every "has it matured?" asks this one date."
    """
    assert built.value(cohorts, "program_retention.retained_share", first_term_starts_on="2022-09-05") == 20 / 30
    assert not built.value(cohorts, "program_retention.followed_count", first_term_starts_on="2023-09-04")
    assert built.value(cohorts, "program_retention.retained_share", first_term_starts_on="2023-09-04") is None
    again = built.rows(cohorts, "program_reregistration", first_term_starts_on="2023-09-04")
    assert {row["reregistered_next_year_share"] for row in again} <= {None}
    assert built.value(cohorts, "mart_program.followed_learner_count") == 30
    assert built.value(cohorts, "mart_program.reregistered_next_year_share") == 20 / 30


def _modules(name: str, last_day: int) -> University:
    """An institution without degree programs: its learners register for modules. Those of October 2013 have the year
    after in 2014J, which begins on 1 October 2014. Clicks come every day until a day of 2014J.
    """
    university = University(name, contract="oulad")
    university.given(
        "courses",
        """
        code_module  code_presentation  module_presentation_length
        AAA          2013J              268
        AAA          2014J              269
        """,
    )
    registrations = [("1", "2013J"), ("2", "2013J"), ("1", "2014J"), ("3", "2014J")]
    for student, presentation in registrations:
        row = {"code_module": "AAA", "code_presentation": presentation, "id_student": student}
        university.add("studentInfo", **row, gender="F", num_of_prev_attempts=0, studied_credits=60, disability="N")
        university.add("studentRegistration", **row, date_registration=-30)
    university.given("vle", "id_site code_module code_presentation activity_type \n 7 AAA 2014J resource")
    for number in range(-20, last_day + 1):
        row = {"code_module": "AAA", "code_presentation": "2014J", "id_student": "3", "id_site": "7"}
        university.add("studentVle", **row, date=number, sum_click=1)
    return university


# 2014J has not begun on the last day of the data, 30 September (day -1).
next_year_not_begun = _modules("next_year_not_begun", -1)
# Its first 14 days, 1 to 14 October, have passed on the last day of the data, 15 October (day 14).
next_year_begun = _modules("next_year_begun", 14)


def test_registering_again_is_unknown_before_the_next_year_has_begun(built):
    """
    Definitions, Terms and programs: "Re-registration of an institution that is no degree program is unknown until its
    term has begun and its deadline passed, never 0."
    """
    again = "mart_learner_program.is_reregistered_next_year"
    for student in ("1", "2"):
        assert built.value(next_year_not_begun, again, learner=student) is None
    assert built.value(next_year_not_begun, "mart_program.reregistered_next_year_share") is None
    assert built.value(next_year_begun, again, learner="1") is True
    assert built.value(next_year_begun, again, learner="2") is False
    assert built.value(next_year_begun, "mart_program.reregistered_next_year_share") == 0.5
