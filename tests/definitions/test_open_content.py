"""Open content before the degree (figure 3), and what stacks into a program."""

from tests.definitions.university import University

# The degree begins on 5 September 2022. Two open courses: `intro` shares nothing with the degree; of the ten items of
# `taster` three are items of the degree course algebra, 30 %: stackable. Everything before the first day counts.
#   ana   completed intro on 1 August.                                       completed (not stackable)
#   ben   enrolled in intro, unpaid, never completed it.                     enrolled, unpaid
#   cleo  paid for intro, never completed it.                                paid
#   dan   completed taster.                                                  stackable completed (and so enrolled)
#   eve   enrolled in intro in June and completed it on the first day of the degree: not before it. Before the start
#         they had enrolled unpaid and completed nothing.                    enrolled, unpaid
#   fay   enrolled in intro on 20 September, after the start.                nothing
#   gus   enrolled in taster, never completed it.                            stackable enrolled
#   hal   paid for intro without completing it, and completed `extra`.       completed only: the five are disjoint
#   ivy   paid for intro and enrolled unpaid in extra, completed neither.    paid
#   jon   took no open course.                                               nothing
#   kim   completed taster and enrolled unpaid in intro.                     stackable both; enrolled, unpaid
before_degree = University("before_degree", until="2024-03-31")
before_degree.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
before_degree.given("courses", "course_id course_type \n intro open \n extra open \n taster open \n algebra degree")
before_degree.numbered_items("taster", range(1, 11))
before_degree.numbered_items("intro", range(1, 11))
before_degree.numbered_items("extra", range(1, 11))
before_degree.numbered_items("algebra", range(1, 6))
before_degree.given(
    "shared_items",
    """
    open_course_id  open_item_id  course_id  item_id
    taster          i1            algebra    i1
    taster          i2            algebra    i2
    taster          i3            algebra    i3
    """,
)
LEARNERS = ("ana", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ivy", "jon", "kim")
for learner in LEARNERS:
    before_degree.add("program_enrollments", learner_id=learner, first_term_id="F22")
    before_degree.add("course_enrollments", learner_id=learner, course_id="algebra", term_id="F22")
before_degree.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at       is_paid  completed_on
    ana         intro      open     2022-06-01T12:00  false    2022-08-01
    ben         intro      open     2022-06-01T12:00  false    -
    cleo        intro      open     2022-06-01T12:00  true     -
    dan         taster     open     2022-06-01T12:00  false    2022-08-01
    eve         intro      open     2022-06-01T12:00  false    2022-09-05
    fay         intro      open     2022-09-20T12:00  false    -
    gus         taster     open     2022-06-01T12:00  false    -
    hal         intro      open     2022-06-01T12:00  true     -
    hal         extra      open     2022-06-01T12:00  false    2022-08-01
    ivy         intro      open     2022-06-01T12:00  true     -
    ivy         extra      open     2022-06-01T12:00  false    -
    kim         taster     open     2022-06-01T12:00  false    2022-08-01
    kim         intro      open     2022-06-01T12:00  false    -
    """
)


def with_true(built, column: str) -> set[str]:
    """The learners of whom it is true; it is known of everybody."""
    found = {x: built.value(before_degree, f"mart_learner_program.{column}", learner=x) for x in LEARNERS}
    assert set(found.values()) <= {True, False}
    return {learner for learner, is_true in found.items() if is_true}


def test_completing_an_open_course_before_the_degree(built):
    """
    Report p. 7: "If a learner has completed at least one open course before starting the degree, they are 12% more
    likely to persist in the degree program."
    Definitions, Open content: "Completed an open course before the degree, as printed = at least one open course of
    any kind completed before the first day of the first term: has_open_completion_any, descriptive"
    """
    assert with_true(built, "has_open_completion_any") == {"ana", "dan", "hal", "kim"}


def test_the_driver_is_the_completion_of_a_course_that_does_not_stack(built):
    """
    Definitions, Open content: "The driver stays disjoint and is labelled for what it is, "completed a non-stackable
    open course""
    """
    assert with_true(built, "has_open_completion") == {"ana", "hal"}


def test_enrolling_in_stackable_content(built):
    """
    Report p. 8: "We see a 3% lift in later degree retention across both enrollees and completers of stackable open
    courses."
    Report p. 27: "Student has enrolled in open content on the Coursera platform that stacks into the degree program."
    Report p. 28: "Student has completed open content on the Coursera platform that stacks into the degree program"
    """
    assert with_true(built, "has_stackable_enrollment") == {"dan", "gus", "kim"}
    assert with_true(built, "has_stackable_completion") == {"dan", "kim"}


def test_paying_for_open_courses_and_completing_none(built):
    """
    Report p. 8: "However, more paid enrollments when the learners do not go on to complete the open course are not
    beneficial for students’ later retention in a degree program."
    """
    assert with_true(built, "has_open_paid_not_completed") == {"cleo", "ivy"}


def test_enrolling_in_open_courses_unpaid_and_completing_none(built):
    """
    Report p. 8: "When students are not paying but simply enrolling in open courses, we see a negative effect on later
    degree retention."
    """
    assert with_true(built, "has_open_enrolled_not_completed") == {"ben", "eve", "kim"}


def test_open_content_as_printed_is_nested_and_of_any_kind(built):
    """
    Report p. 27: "Student has enrolled in open content on the Coursera platform."
    Report p. 27: "Student has enrolled in paid enrollments in open content on the Coursera platform."
    Report p. 27: "Student has completed open content on the Coursera platform."
    Definitions, Open content: "The printed nested columns (enrolled, paid, completed) form a control group of their
    own"
    """
    everybody_else = {"ana", "ben", "cleo", "dan", "eve", "gus", "hal", "ivy", "kim"}
    assert with_true(built, "has_open_enrollment_any") == everybody_else
    assert with_true(built, "has_open_paid_enrollment_any") == {"cleo", "hal", "ivy"}
    assert with_true(built, "has_open_completion_any") == {"ana", "dan", "hal", "kim"}


def test_open_content_as_printed_is_no_control_of_the_open_drivers(built):
    """
    Definitions, Open content: "never for the five open drivers, sensitivity for the others, never together with OPN
    (collinear)."
    """
    open_drivers = {row["driver_group"] for row in built.seed("driver_catalogue") if row["figure"] == 3}
    eligible = {
        row["driver_group"]: row["eligible"]
        for row in built.seed("driver_control_eligibility")
        if row["control_group"] == "OPN_PRINTED"
    }
    assert {eligible[group] for group in open_drivers} == {"no"}
    assert {x for group, x in eligible.items() if group not in open_drivers} == {"sensitivity"}


def test_what_happens_from_the_first_day_on_is_not_before_the_degree(built):
    """
    Definitions, Courses: "Features "before the degree" look at dates, not at the last state."
    """
    for column in ("has_open_completion", "has_open_completion_any", "has_open_enrolled_not_completed"):
        assert built.value(before_degree, f"mart_learner_program.{column}", learner="fay") is False
    assert built.value(before_degree, "mart_learner_program.has_open_completion_any", learner="eve") is False


def is_stackable(built, university: University, course: str) -> bool:
    """Courses that share nothing may have no row."""
    return any(row["is_stackable"] for row in built.rows(university, "dim_stackable_course", open_course=course))


# Three of ten items with one course: exactly 30 %, stackable. Two of ten: 20 %, not.
# Four of 25 items with algebra and four with logic, 16 % + 16 %: 32 % of the program, with no course 30 %: not.
# Three of ten items with another open course: of the wrong type, not.
sharing = University("sharing", until="2024-03-31")
sharing.given("terms", "term_id starts_on \n F22 2022-09-05")
sharing.given(
    "courses",
    """
    course_id  course_type
    three      open
    two        open
    spread     open
    of_open    open
    algebra    degree
    logic      degree
    """,
)
sharing.numbered_items("three", range(1, 11))
sharing.numbered_items("two", range(1, 11))
sharing.numbered_items("of_open", range(1, 11))
sharing.numbered_items("spread", range(1, 26))
sharing.numbered_items("algebra", range(1, 9))
sharing.numbered_items("logic", range(1, 9))
for course in ("three", "two", "spread", "of_open"):
    sharing.add("course_enrollments", learner_id="ana", course_id=course, term_id="open")
sharing.enrolled("learner_id course_id term_id \n ana algebra F22 \n ana logic F22")
sharing.given("program_enrollments", "learner_id first_term_id \n ana F22")
sharing.given(
    "shared_items",
    """
    open_course_id  open_item_id  course_id  item_id
    three           i1            algebra    i1
    three           i2            algebra    i2
    three           i3            algebra    i3
    two             i1            algebra    i1
    two             i2            algebra    i2
    spread          i1            algebra    i1
    spread          i2            algebra    i2
    spread          i3            algebra    i3
    spread          i4            algebra    i4
    spread          i5            logic      i1
    spread          i6            logic      i2
    spread          i7            logic      i3
    spread          i8            logic      i4
    of_open         i1            three      i4
    of_open         i2            three      i5
    of_open         i3            three      i6
    """,
)


def test_stackable_is_thirty_percent_of_the_items_shared_with_a_degree_course(built):
    """
    Report p. 8: "For this analysis, we defined stackable open courses as those where at least 30% of the learning
    items are shared with a for-credit degree course."
    """
    assert is_stackable(built, sharing, "three")
    assert not is_stackable(built, sharing, "two")


def test_sixteen_percent_with_each_of_two_courses_do_not_stack(built):
    """
    Definitions, Open content: "Stackable = at least 30 % of the open course's learning items (of the version offered
    at the time) are shared with one for-credit degree course of the program (not summed over courses), both of the
    right type."
    """
    assert not is_stackable(built, sharing, "spread")
    assert not is_stackable(built, sharing, "of_open")


# The open course was revised: v1 has ten items, i1 to i3 of them shared with algebra (30 %: stackable). v2 keeps all
# ten and adds two: 3 of 12, 25 %. ana took v1 in 2021, ben v2 in 2022. Both begin the degree in September 2022.
revised = University("revised", until="2024-03-31")
revised.given("terms", "term_id starts_on \n F22 2022-09-05")
revised.given("courses", "course_id course_type \n taster open \n algebra degree")
revised.given(
    "course_offerings",
    """
    course_id  term_id    version_id  starts_on   ends_on
    taster     open-2021  v1          2021-01-01  2021-12-31
    taster     open-2022  v2          2022-01-01  2022-12-31
    algebra    F22        v1          2022-09-05  2022-12-11
    """,
)
revised.numbered_items("taster", range(1, 11), version="v1")
revised.numbered_items("taster", range(1, 13), version="v2")
revised.numbered_items("algebra", range(1, 4))
revised.given(
    "shared_items",
    """
    open_course_id  open_item_id  course_id  item_id
    taster          i1            algebra    i1
    taster          i2            algebra    i2
    taster          i3            algebra    i3
    """,
)
revised.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
revised.enrolled(
    """
    learner_id  course_id  term_id    enrolled_at
    ana         algebra    F22        2022-08-20T12:00
    ben         algebra    F22        2022-08-20T12:00
    ana         taster     open-2021  2021-06-01T12:00
    ben         taster     open-2022  2022-06-01T12:00
    """
)


def test_a_revised_open_course_stacks_by_the_version_offered_at_the_time(built):
    """
    Definitions, Open content: "Stackable = at least 30 % of the open course's learning items (of the version offered
    at the time) are shared with one for-credit degree course of the program (not summed over courses), both of the
    right type."
    """
    assert built.value(revised, "mart_learner_program.has_stackable_enrollment", learner="ana") is True
    assert built.value(revised, "mart_learner_program.has_stackable_enrollment", learner="ben") is False
