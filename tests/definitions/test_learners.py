"""Learners in programs: who they are and what they did in their first term (figure 9, appendix table 1)."""

from tests.definitions.university import University

# A program of three terms a year, of which two may be missed. The first term is F22, from 5 September to 11 December
# 2022, and its courses may be left until 19 September.
entrants = University("entrants", until="2024-03-31")
entrants.given("programs", "program_id terms_per_year terms_may_be_missed \n msc 3 2")
entrants.given(
    "terms",
    """
    term_id  season  starts_on   drop_deadline_on  is_required
    F21      fall    2021-09-06  2021-09-20        true
    S22      spring  2022-01-17  2022-01-31        true
    U22      summer  2022-05-30  2022-06-13        false
    F22      fall    2022-09-05  2022-09-19        true
    S23      spring  2023-01-16  2023-01-30        true
    F23      fall    2023-09-04  2023-09-18        true
    """,
)
# ana was admitted on 1 December 2021: S22 and U22 began between that and the start. ben was admitted in June 2022.
entrants.given(
    "program_enrollments",
    """
    learner_id  first_term_id  admitted_on
    ana         F22            2021-12-01
    ben         F22            2022-06-15
    cleo        F22            2022-06-15
    dan         F22            2022-06-15
    """,
)
# Born in 1990: 32 in the year of the start. Registered on 4 September 2021, 366 days before the first day: long
# before. ben did on 20 August 2022, 16 days before.
entrants.given(
    "learners",
    """
    learner_id  registered_at     birth_year  region  education_level  employment_status
    ana         2021-09-04T12:00  1990        Andes   bachelor         full_time
    ben         2022-08-20T12:00  2000        Europe  secondary        student
    """,
)
# Courses of the first term: ana 1, ben 2, cleo 3, dan 4. Sorted 1, 2, 3, 4: quartiles 1.75, 2.5 and 3.25.
# cleo leaves one on the last day of the deadline and one on the day after it; dan leaves one on the last day.
entrants.enrolled(
    """
    learner_id  course_id  term_id  dropped_on
    ana         algebra    F22      -
    ben         algebra    F22      -
    ben         logic      F22      -
    cleo        algebra    F22      -
    cleo        logic      F22      2022-09-19
    cleo        topology   F22      2022-09-20
    dan         algebra    F22      -
    dan         logic      F22      2022-09-19
    dan         topology   F22      -
    dan         analysis   F22      -
    ana         logic      S23      2023-03-01
    """
)
# ana asks about a payment in the first term and about enrollment before it; ben asks a technical and an academic
# question on the last day of the term; cleo asks in the spring after it.
entrants.given(
    "support_tickets",
    """
    ticket_id  learner_id  program_id  ticket_type  opened_at
    t1         ana         msc         payment      2022-10-03T09:00
    t2         ana         msc         enrollment   2022-08-01T09:00
    t3         ben         msc         technical    2022-12-11T09:00
    t4         ben         msc         academic     2022-12-11T09:30
    t5         cleo        msc         enrollment   2023-02-01T09:00
    """,
)


def of(built, learner: str, column: str) -> object:
    return built.value(entrants, f"mart_learner_program.{column}", learner=learner)


def test_degree_program(built):
    """
    Report p. 27: "Fixed Effect for the Degree Program"
    """
    assert of(built, "ana", "program_id") == "msc"


def test_terms_allowed_missing_and_terms_a_year(built):
    """
    Report p. 27: "The number of terms in a program that are allowed to be missed by a learner."
    Report p. 27: "Number of terms in a program including controls for required and non-required terms."
    """
    assert of(built, "ana", "terms_may_be_missed") == 2
    assert of(built, "ana", "terms_per_year") == 3
    # Five of the six terms are required.
    assert built.value(entrants, "mart_program.required_term_share", program="msc") == 5 / 6


def test_distribution_of_course_load(built):
    """
    Report p. 27: "Distribution of course load within a program (quartiles and interquartile range of the number of
    courses enrolled)"
    """
    names = ("program_load_q25", "program_load_median", "program_load_q75", "program_load_iqr")
    assert [of(built, "ana", name) for name in names] == [1.75, 2.5, 3.25, 1.5]


def test_terms_since_admitted(built):
    """
    Report p. 27: "The number of terms between when the learner was admitted and when they started the degree program."
    """
    assert of(built, "ana", "terms_since_admitted_count") == 2
    assert of(built, "ben", "terms_since_admitted_count") == 0


def test_season(built):
    """
    Report p. 27: "Whether the term is in the spring, fall or summer"
    """
    assert of(built, "ana", "season") == "fall"


def test_courses_enrolled(built):
    """
    Report p. 27: "The number of courses a learner enrolled in within a given term."
    Report p. 19: "Base Courses Enrolled"
    Report p. 20: "Taking on full course-loads (rather than part-time course-loads) in the first term in a program
    improves year-one persistence by about 8%."
    """
    counts = [of(built, learner, "courses_enrolled_count") for learner in ("ana", "ben", "cleo", "dan")]
    assert counts == [1, 2, 3, 4]


def test_courses_dropped(built):
    """
    Report p. 27: "The number of courses a learner dropped within a given term."
    Report p. 19: "Base Courses Dropped"
    Report p. 20: "Dropping one course in a degree program is associated with a decrease in persistence of about 7%,
    and dropping after the drop deadline is associated with an 8% drop in persistence."
    """
    # That ana leaves a course in the spring is no drop of the first term.
    counts = [of(built, learner, "courses_dropped_count") for learner in ("ana", "ben", "cleo", "dan")]
    assert counts == [0, 0, 2, 1]


def test_dropped_after_the_deadline(built):
    """
    Report p. 27: "Whether a student dropped a course after the drop deadline."
    Report p. 19: "Has Drop After Deadline"
    Definitions, Courses: "Dropped after the deadline: the drop's own date against that term's deadline."
    """
    flags = [of(built, learner, "has_drop_after_deadline") for learner in ("ana", "ben", "cleo", "dan")]
    assert flags == [False, False, True, False]


def test_support_tickets(built):
    """
    Report p. 27: "Whether a learner files a support ticket of various different types during a given term."
    """
    kinds = ("support", "payment", "technical", "academic", "enrollment")
    assert [of(built, "ana", f"has_{kind}_ticket") for kind in kinds] == [True, True, False, False, False]
    assert [of(built, "ben", f"has_{kind}_ticket") for kind in kinds] == [True, False, True, True, False]
    assert [of(built, "cleo", f"has_{kind}_ticket") for kind in kinds] == [False] * 5


def test_country_group_age_and_education(built):
    """
    Report p. 28: "Student’s nationality grouped by region"
    Report p. 28: "Student’s age at degree start"
    Report p. 28: "Student prior educational background"
    """
    assert of(built, "ana", "region") == "Andes"
    assert of(built, "ana", "age_years") == 32
    assert of(built, "ana", "education_level") == "bachelor"


def test_registration_timing(built):
    """
    Report p. 28: "Whether the learner was a long-time Coursera learner or registered on the platform shortly before
    the start of their degree program."
    """
    assert of(built, "ana", "is_long_time_learner") is True
    assert of(built, "ben", "is_long_time_learner") is False


# ana drops algebra in the second week and enters it again two days later, and completes it. In the year after, she
# drops logic by the deadline and enters it again after it. ben drops algebra for good, and logic in F23 too.
reentry = University("reentry", until="2024-03-31")
reentry.given(
    "terms",
    """
    term_id  starts_on   drop_deadline_on
    F22      2022-09-05  2022-09-19
    F23      2023-09-04  2023-09-18
    """,
)
reentry.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
reentry.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at       dropped_on  completed_on
    ana         algebra    F22      2022-08-20T12:00  2022-09-12  -
    ana         algebra    F22      2022-09-14T12:00  -           2022-12-11
    ana         logic      F23      2023-08-20T12:00  2023-09-12  -
    ana         logic      F23      2023-09-20T12:00  -           -
    ben         algebra    F22      2022-08-20T12:00  2022-09-12  -
    ben         logic      F23      2023-08-20T12:00  2023-09-12  -
    """
)


def test_a_drop_with_reentry_stays_a_drop_and_the_later_enrollment_is_another_row(built):
    """
    Definitions, Courses: "a drop that was followed by re-entry stays a drop at its date and the later enrolment
    another row."
    """
    rows = built.rows(reentry, "fct_course_registration", learner="ana", course="algebra")
    days = ("registered_on", "unregistered_on", "completed_on")
    assert sorted(tuple(str(row[name]) for name in days) for row in rows) == [
        ("2022-08-20", "2022-09-12", "None"),
        ("2022-09-14", "None", "2022-12-11"),
    ]
    assert built.value(reentry, "mart_learner_course.is_passed", learner="ana", course="algebra") is True
    program = "mart_learner_program.courses_{}_count"
    # One course, dropped once.
    assert built.value(reentry, program.format("enrolled"), learner="ana") == 1
    assert built.value(reentry, program.format("dropped"), learner="ana") == 1


def test_who_enters_the_course_again_has_kept_it(built):
    """
    Definitions, Terms and programs: "First-year retention = kept a course of the program in any term of the window:
    enrolled and not dropped by its drop deadline"
    """
    assert built.value(reentry, "mart_learner_program.is_retained", learner="ana") is True
    assert built.value(reentry, "mart_learner_program.is_retained", learner="ben") is False


def test_a_week_knows_who_had_left_then_and_who_had_come_back(built):
    """
    Definitions, Courses: "a drop that was followed by re-entry stays a drop at its date and the later enrolment
    another row."
    """

    # logic began on 4 September; ana left on the 12th and came back on the 20th. Week 2 ends before the 18th, week 3
    # before the 25th.
    def enrolled(learner: str) -> list[bool]:
        place = {"learner": learner, "course": "logic", "term": "F23"}
        name = "mart_learner_course_week.is_enrolled"
        return [built.value(reentry, name, week_number=week, **place) for week in (1, 2, 3)]

    assert enrolled("ana") == [True, False, True]
    # ben left on the 12th for good.
    assert enrolled("ben") == [True, False, False]
