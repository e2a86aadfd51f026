"""How courses end: outcomes, pass marks, deadlines, several enrollments, courses of several programs."""

from tests.definitions.university import University

# algebra in F22, which has ended: ana, ben and cleo completed it, dan ended with 40 %. In F23, which runs until
# 10 December, the data end on 31 October: eve and fay are in the course, gus left it in September.
# Of the outcomes that are final, those of the term that has ended, 3 of 4 passed and nobody withdrew.
running = University("running", until="2023-10-31")
running.given("terms", "term_id starts_on ends_on \n F22 2022-09-05 2022-12-11 \n F23 2023-09-04 2023-12-10")
running.enrolled(
    """
    learner_id  course_id  term_id  completed_on  final_grade  dropped_on
    ana         algebra    F22      2022-12-11    90           -
    ben         algebra    F22      2022-12-11    90           -
    cleo        algebra    F22      2022-12-11    90           -
    dan         algebra    F22      -             40           -
    eve         algebra    F23      -             -            -
    fay         algebra    F23      -             -            -
    gus         algebra    F23      -             -            2023-09-25
    """
)
running.given("program_enrollments", "learner_id first_term_id \n ana F22")


def test_a_running_course_has_no_shares_of_outcomes(built):
    """
    Definitions, Courses: "Outcome: passed, failed, withdrawn, still running, or for self-paced courses completed, not
    completed so far. A share of outcomes counts final outcomes only (denominator and the number still running beside
    it)."
    """
    assert built.value(running, "mart_course_term.passed_share", course="algebra", term="F22") == 0.75
    for column in ("passed_share", "withdrawn_share"):
        assert built.value(running, f"mart_course_term.{column}", course="algebra", term="F23") is None
    assert built.value(running, "mart_learner_course.outcome", learner="dan") == "fail"
    assert built.value(running, "mart_learner_course.is_outcome_final", learner="eve") is False


def test_the_shares_of_a_course_leave_its_running_term_out(built):
    """
    Definitions, Courses: "A share of outcomes counts final outcomes only (denominator and the number still running
    beside it)."
    """
    assert built.value(running, "mart_course.passed_share", course="algebra") == 0.75
    assert built.value(running, "mart_course.withdrawn_share", course="algebra") == 0
    assert built.value(running, "mart_course.final_outcome_count", course="algebra") == 4


def test_the_number_still_running_stands_beside_the_share(built):
    """
    Definitions, Courses: "A share of outcomes counts final outcomes only (denominator and the number still running
    beside it)."
    """
    # eve and fay; gus has left.
    assert built.value(running, "mart_course_term.running_count", course="algebra", term="F23") == 2
    assert built.value(running, "mart_course_term.final_outcome_count", course="algebra", term="F22") == 4
    assert built.value(running, "mart_course_term.running_count", course="algebra", term="F22") == 0


# An open course without an end: two of five completed it. Nobody failed, nobody withdrew: three have not so far.
self_paced = University("self_paced", until="2023-10-31")
self_paced.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at       completed_on
    ana         intro      open     2023-01-10T12:00  2023-03-01
    ben         intro      open     2023-01-10T12:00  2023-03-01
    cleo        intro      open     2023-01-10T12:00  -
    dan         intro      open     2023-01-10T12:00  -
    eve         intro      open     2023-01-10T12:00  -
    """
)


def test_a_self_paced_course_is_completed_or_not_completed_so_far(built):
    """
    Definitions, Courses: "Outcome: passed, failed, withdrawn, still running, or for self-paced courses completed, not
    completed so far. A share of outcomes counts final outcomes only (denominator and the number still running beside
    it)."
    """
    assert built.value(self_paced, "mart_course.completed_share", course="intro") == 0.4
    # Completing is final, not completing so far is not: of final outcomes alone all would have passed.
    assert built.value(self_paced, "mart_course.passed_share", course="intro") is None
    assert built.value(self_paced, "mart_learner_course.is_passed", learner="cleo") is not True
    assert built.value(self_paced, "mart_learner_course.is_withdrawn", learner="cleo") is not True


# Pass marks: the institution says 50 %, the msc 70 %, its algebra 60 %. Everybody's first quiz has 6.5 of 10 points:
#   algebra (60 %, its own): passed.  logic (70 %, the program's): not.
#   finance of the mba, which has none of its own (50 %, the source's): passed.
marks = University("marks", until="2024-03-31", institution={"passing_share": "0.5"})
marks.given("programs", "program_id passing_share \n msc 0.7 \n mba -")
marks.given("terms", "program_id term_id starts_on \n msc F22 2022-09-05 \n mba F22 2022-09-05")
marks.given(
    "courses",
    """
    course_id  program_id  passing_share
    algebra    msc         0.6
    logic      msc         -
    finance    mba         -
    """,
)
for course in ("algebra", "logic", "finance"):
    marks.items(course, "item_id kind weight due_day \n quiz1 quiz 1.0 6")
marks.enrolled("learner_id course_id term_id \n ana algebra F22 \n ana logic F22 \n ben finance F22")
marks.given("program_enrollments", "learner_id program_id first_term_id \n ana msc F22 \n ben mba F22")
marks.given(
    "submissions",
    """
    learner_id  course_id  item_id  submitted_at      score
    ana         algebra    quiz1    2022-09-10T12:00  6.5
    ana         logic      quiz1    2022-09-10T12:00  6.5
    ben         finance    quiz1    2022-09-10T12:00  6.5
    """,
)


def test_the_pass_mark_is_the_courses_else_the_programs_else_the_sources(built):
    """
    Definitions, Courses: "Pass mark: of the course, else the program, else the source (a column of the contract);
    never one number per contract."
    """
    found = {
        course: (
            built.value(marks, "dim_course.passing_share", course=course),
            built.value(marks, "mart_learner_course.has_passed_first", course=course),
        )
        for course in ("algebra", "logic", "finance")
    }
    assert found == {"algebra": (0.6, True), "logic": (0.7, False), "finance": (0.5, True)}


# Graded items without due days. ana hands everything in.
undated = University("undated", until="2024-03-31")
undated.given("terms", "term_id starts_on \n F22 2022-09-05")
undated.given("program_enrollments", "learner_id first_term_id \n ana F22")
undated.enrolled("learner_id course_id term_id \n ana algebra F22")
undated.items("algebra", "item_id kind weight due_day \n quiz1 quiz 0.5 - \n quiz2 quiz 0.5 -")
undated.given(
    "submissions",
    """
    learner_id  course_id  item_id  submitted_at
    ana         algebra    quiz1    2022-10-01T12:00
    ana         algebra    quiz2    2022-11-01T12:00
    """,
)


NEEDS_A_DEADLINE = (
    "is_first_on_time",
    "has_passed_first",
    "late_item_count",
    "on_time_share",
    "mean_submission_lead_days",
    "first_deadline_days_active",
    "first_deadline_learning_hours",
    "first_deadline_submitted_share",
)


def test_a_course_without_deadlines_has_nothing_on_time_or_late(built):
    """
    Definitions, Courses: "Courses without deadlines have no on-time, late or lead columns (null, not false)."
    """
    found = {x: built.value(undated, f"mart_learner_course.{x}", learner="ana") for x in NEEDS_A_DEADLINE}
    assert found == dict.fromkeys(NEEDS_A_DEADLINE)
    assert built.value(undated, "mart_learner_course.submitted_item_count", learner="ana") == 2


# ana completes an open course in March and enrolls in it again in June without completing it once more. Her degree
# begins in September. ben leaves it in March, and enrolls again and completes it after the degree has begun.
again = University("again", until="2024-03-31")
again.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
again.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22")
again.enrolled(
    """
    learner_id  course_id  term_id  enrolled_at       completed_on  dropped_on
    ana         algebra    F22      2022-08-20T12:00  -             -
    ben         algebra    F22      2022-08-20T12:00  -             -
    ana         intro      open     2022-01-10T12:00  2022-03-01    -
    ana         intro      open     2022-06-01T12:00  -             -
    ben         intro      open     2022-01-10T12:00  -             2022-03-01
    ben         intro      open     2022-10-01T12:00  2022-12-01    -
    """
)


def test_completed_is_completed_once_ever_reached(built):
    """
    Definitions, Courses: "history is kept. Completed is completed once ever reached, with its first date; registered
    is the first"
    """
    assert built.value(again, "mart_learner_program.has_open_completion_any", learner="ana") is True
    # ben had not completed it before the start: what came later does not count.
    assert built.value(again, "mart_learner_program.has_open_completion_any", learner="ben") is False
    for column, first in (("registered_on", "2022-01-10"), ("completed_on", "2022-03-01")):
        assert str(built.value(again, f"fct_course_enrollment.{column}", learner="ana", course="intro")) == first


# The course stats belongs to the msc and serves the mba too. In 2023 the msc lets go of courses until 18 September, the
# mba until 16 October.
#   cleo of the mba takes it in F22 and in F23, and nothing else: a course of her program in both, so she is retained.
#   ana of the msc takes it in F22 only.   fay studies in both programs and takes it in F22: a course of each.
#   gus (msc) and hal (mba) leave it on 30 September 2023: after the deadline of the one, by that of the other.
shared_course = University("shared_course", until="2024-03-31")
shared_course.given(
    "terms",
    """
    program_id  term_id  starts_on   drop_deadline_on
    msc         F22      2022-09-05  2022-09-19
    msc         F23      2023-09-04  2023-09-18
    mba         F22      2022-09-05  2022-10-17
    mba         F23      2023-09-04  2023-10-16
    """,
)
shared_course.given("courses", "course_id program_id \n stats msc")
shared_course.given("program_courses", "program_id course_id \n mba stats")
shared_course.given(
    "program_enrollments",
    """
    learner_id  program_id  first_term_id
    ana         msc         F22
    cleo        mba         F22
    fay         msc         F22
    fay         mba         F22
    gus         msc         F22
    hal         mba         F22
    """,
)
shared_course.enrolled(
    """
    learner_id  course_id  term_id  dropped_on
    ana         stats      F22      -
    cleo        stats      F22      -
    cleo        stats      F23      -
    fay         stats      F22      -
    gus         stats      F22      -
    gus         stats      F23      2023-09-30
    hal         stats      F22      2022-09-30
    hal         stats      F23      2023-09-30
    """
)


def test_a_course_that_serves_two_programs_counts_in_both(built):
    """
    Definitions, Courses: "A course may serve several programs; its effect is counted in each."
    """
    enrolled, retained = "mart_learner_program.courses_enrolled_count", "mart_learner_program.is_retained"
    assert built.value(shared_course, enrolled, learner="ana") == 1
    assert built.value(shared_course, enrolled, learner="cleo") == 1
    assert built.value(shared_course, retained, learner="ana") is False
    assert built.value(shared_course, retained, learner="cleo") is True
    rows = built.rows(shared_course, "mart_retention_learner_course", course="stats")
    assert sorted((row["learner"], row["program"]) for row in rows) == [
        ("ana", "msc"),
        ("cleo", "mba"),
        ("fay", "mba"),
        ("fay", "msc"),
        ("gus", "msc"),
        ("hal", "mba"),
    ]


def test_a_shared_course_is_kept_by_the_deadline_of_the_learners_program(built):
    """
    Definitions, Courses: "Dropped after the deadline: the drop's own date against that term's deadline."
    """
    assert built.value(shared_course, "mart_learner_program.is_retained", learner="gus") is True
    assert built.value(shared_course, "mart_learner_program.is_retained", learner="hal") is False
    assert built.value(shared_course, "mart_learner_program.has_drop_after_deadline", learner="hal") is False
