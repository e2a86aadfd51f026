"""How courses are made (figures 4 to 7, appendix table 2)."""

import pytest

from tests.definitions.university import University

# Four weeks. Graded: two quizzes of 10 % each, a staff-graded paper of 50 %, a peer-graded one of 30 %. Not graded:
# three videos of 10, 20 and 30 minutes, two readings, a practice, a tool of another kind. 4 + 7 = 11 items.
design = University("design", until="2024-03-31")
design.given("terms", "term_id starts_on \n F22 2022-09-05 \n F23 2023-09-04")
design.given("program_enrollments", "learner_id first_term_id \n ana F22")
design.items(
    "mixed",
    """
    item_id  kind          week  weight  minutes
    quiz1    quiz          1     0.10    -
    quiz2    quiz          2     0.10    -
    paper    staff_graded  3     0.50    -
    review   peer_graded   4     0.30    -
    film1    video         1     -       10
    film2    video         2     -       20
    film3    video         2     -       30
    text1    reading       1     -       -
    text2    reading       4     -       -
    try1     practice      3     -       -
    tool     other         4     -       -
    """,
)
# Every other type of assignment, once each: 25 % of the items, and of the grade 40, 30, 20 and 10 %.
design.items(
    "others",
    """
    item_id  kind         week  weight
    code     programming  1     0.40
    team     team         1     0.30
    talk     discussion   2     0.20
    plug     plugin       2     0.10
    """,
)
# Quizzes only, and a video that nobody grades.
design.items("quizzes", "item_id kind week weight minutes \n q1 quiz 1 0.5 - \n q2 quiz 2 0.5 - \n film video 1 - 5")
# Nothing is graded.
design.items("ungraded", "item_id kind week minutes \n film video 1 5 \n text reading 1 -")
# The example of the report: 0, 25, 25 and 50 % of the grade are due in weeks 1 to 4.
design.items(
    "example",
    """
    item_id  kind   week  weight
    text     reading  1   -
    q2       quiz     2   0.25
    q3       quiz     3   0.25
    q4       quiz     4   0.50
    """,
)
# Weights of 4, 5, 14, 15 and 62 %: small below 5 %, medium from exactly 5 % on, large from exactly 15 % on.
design.items(
    "bands",
    """
    item_id  kind  week  weight
    w04      quiz  1     0.04
    w05      quiz  1     0.05
    w14      quiz  1     0.14
    w15      quiz  1     0.15
    w62      quiz  1     0.62
    """,
)
# Of three graded items one takes a tenth off late work, one takes 0 off and of one nothing is said: one of three.
design.items(
    "penalties",
    """
    item_id  kind  week  weight  late_penalty
    a        quiz  1     0.5     0
    b        quiz  1     0.3     0.1
    c        quiz  1     0.2     -
    """,
)
# The best 2 of 3 quizzes make 60 % of the grade, an exam 40 %. The group's weight stands spread over its items, 20 %
# each. In the grade of a learner two of them count, 60 / 2 = 30 % each: for bands and the maximum an item weighs 30 %,
# in sums and centroids 60 / 3 = 20 %.
#   maximum: the exam, 40 %. Bands: all four are large.  In a group: 3 of 4 items.
#   quizzes' share of the grade: 60 %.  Centroid: (0.2 x 1 + 0.2 x 2 + 0.2 x 3 + 0.4 x 4) / 4 = 2.8 / 4 = 0.7.
design.items(
    "best_two",
    """
    item_id  kind          week  weight  assignment_group  best_count
    q1       quiz          1     0.2     quizzes           2
    q2       quiz          2     0.2     quizzes           2
    q3       quiz          3     0.2     quizzes           2
    exam     staff_graded  4     0.4     -                 -
    """,
)
# The best 1 of 4 quizzes make 40 % of the grade, a paper 30 %, two more 15 % each: a quiz weighs 40 / 1 = 40 % for the
# maximum, more than the paper.  Delivered: 10 % each, which would be medium; at 40 % they are large.
design.items(
    "best_one",
    """
    item_id  kind          week  weight  assignment_group  best_count
    q1       quiz          1     0.1     quizzes           1
    q2       quiz          1     0.1     quizzes           1
    q3       quiz          1     0.1     quizzes           1
    q4       quiz          1     0.1     quizzes           1
    paper    staff_graded  1     0.3     -                 -
    talk     discussion    1     0.15    -                 -
    code     programming   1     0.15    -                 -
    """,
)
# Three quizzes of equal weight, as a platform writes a third.
design.items(
    "thirds",
    """
    item_id  kind  week  weight
    q1       quiz  1     0.3333333333333333
    q2       quiz  2     0.3333333333333333
    q3       quiz  3     0.3333333333333333
    """,
)
COURSES = ("mixed", "others", "quizzes", "ungraded", "example", "bands", "penalties", "best_two", "best_one", "thirds")
for course in COURSES:
    design.add("course_enrollments", learner_id="ana", course_id=course, term_id="F22")


@pytest.fixture
def of(built):
    """The value of a column of a course's version; as a share it is rounded to 12 digits."""

    def value(course: str, column: str) -> object:
        found = built.value(design, f"mart_course_version.{column}", course=course)
        return round(found, 12) if isinstance(found, float) else found

    return value


TYPES = ("quiz", "staff_graded", "peer_graded", "programming", "plugin", "discussion", "team")


def test_a_course_with_at_least_one_staff_graded_assessment(built, of):
    """
    Report p. 11: "On the Coursera platform, we see that degree courses with at least one staff-graded assessment have
    6% higher retention rates."
    """
    assert [of(course, "has_staff_graded") for course in ("mixed", "others", "quizzes")] == [True, False, False]


def test_hands_on_assessments(built, of):
    """
    Report p. 11: "These hands-on assessments can include programming, staff-graded, peer-review, graded discussion
    prompts, and team assessments, all of which are open-ended opportunities to demonstrate new skills."
    """
    assert [of(course, "has_hands_on") for course in ("mixed", "others", "quizzes", "ungraded")] == [
        True,
        True,
        False,
        False,
    ]


def test_peer_review_and_quizzes(built, of):
    """
    Report p. 12: "Having assessments reviewed by peers appears slightly beneficial for student retention."
    Report p. 12: "Quizzes show the same pattern; while they are useful for quick tests of students’ knowledge, quizzes
    should not be the main contributor to students’ overall grades."
    """
    assert [of(course, "has_peer_graded") for course in ("mixed", "others", "quizzes")] == [True, False, False]
    assert [of(course, "has_quiz") for course in ("mixed", "others", "quizzes")] == [True, False, True]


def test_assignment_type_indicators(built, of):
    """
    Report p. 28: "Indicator of whether the course contains at least one assignment of the given type: quiz,
    staff-graded assignment, peer-graded assignment, programming assignment, plug-in, discussion prompt"
    """
    assert [of("mixed", f"has_{kind}") for kind in TYPES] == [True, True, True, False, False, False, False]
    assert [of("others", f"has_{kind}") for kind in TYPES] == [False, False, False, True, True, True, True]
    assert [of("ungraded", f"has_{kind}") for kind in TYPES] == [False] * 7


def test_assignment_type_prevalence(built, of):
    """
    Report p. 28: "Fraction of graded assignments in the course of the given type: quiz, staff-graded assignment,
    peergraded assignment, programming assignment, plug-in, discussion prompt"
    """
    assert [of("mixed", f"{kind}_item_share") for kind in TYPES] == [0.5, 0.25, 0.25, 0, 0, 0, 0]
    assert [of("others", f"{kind}_item_share") for kind in TYPES] == [0, 0, 0, 0.25, 0.25, 0.25, 0.25]


def test_assignment_type_grading_weight(built, of):
    """
    Report p. 28: "The fraction of student grade attributable to assignments of the given type: quiz, staff-graded
    assignment, peer-graded assignment, programming assignment, plug-in, discussion prompt"
    """
    assert [of("mixed", f"{kind}_weight_share") for kind in TYPES] == [0.2, 0.5, 0.3, 0, 0, 0, 0]
    assert [of("others", f"{kind}_weight_share") for kind in TYPES] == [0, 0, 0, 0.4, 0.1, 0.2, 0.3]
    assert [of("thirds", f"{kind}_weight_share") for kind in TYPES] == [1, 0, 0, 0, 0, 0, 0]


def test_points_of_staff_peers_and_quizzes(built, of):
    """
    Report p. 11: "Sum Graded Points Staff from 0.5 to 0.85"
    Report p. 11: "Sum Graded Points Peer from 0.1 to 0.4"
    Report p. 11: "Sum Graded Points Quiz from 0.25 to 0.8"
    """
    assert of("mixed", "staff_graded_weight_share") == 0.5
    assert of("mixed", "peer_graded_weight_share") == 0.3
    assert of("mixed", "quiz_weight_share") == 0.2


def test_staff_points_are_null_where_nothing_is_graded_and_0_where_staff_grade_nothing(built, of):
    """
    Definitions, Course design: "one taxonomy and one name a concept in all marts (staff_points_share is null where
    nothing is graded, 0 where staff grade nothing)."
    """
    assert of("ungraded", "staff_graded_weight_share") is None
    assert of("quizzes", "staff_graded_weight_share") == 0


def test_late_penalty_prevalence(built, of):
    """
    Report p. 28: "The fraction of graded assignments with late penalties"
    Definitions, Course design: "A late penalty of 0 is none."
    """
    assert of("penalties", "late_penalty_share") == pytest.approx(1 / 3)


def test_assignment_group_prevalence(built, of):
    """
    Report p. 28: "The fraction of graded assignments that are part of graded assignment groups (only the highest
    grades count for final grade calculation)"
    """
    assert of("best_two", "assignment_group_share") == 0.75
    assert of("best_one", "assignment_group_share") == pytest.approx(4 / 7)


def test_maximum_grading_weight(built, of):
    """
    Report p. 28: "The largest fraction of the student grade attributable to a single assignment"
    Report p. 15: "Max Item Weight from 0.2 to 0.25"
    """
    assert of("mixed", "max_item_weight") == 0.5
    assert of("bands", "max_item_weight") == 0.62


def test_weights_of_exactly_5_and_15_percent(built, of):
    """
    Report p. 28: "The fraction of graded assignments that accounted for a certain weight in the final grade
    calculation: 0-5% (small), 5-15% (medium), 15%+ (large)"
    Definitions, Course design: "Weight bands: small [0, 5 %), medium [5, 15 %), large [15 %, …]."
    """
    assert of("bands", "small_weight_share") == 0.2
    assert of("bands", "medium_weight_share") == 0.4
    assert of("bands", "large_weight_share") == 0.4


def test_best_two_of_three(built, of):
    """
    Definitions, Course design: "Best k of n in an assignment group: an item's weight is the group's ÷ k for bands and
    maximum, ÷ n in sums and centroids."
    """
    assert of("best_two", "max_item_weight") == 0.4
    assert of("best_two", "quiz_weight_share") == 0.6
    assert of("best_two", "graded_weight_centroid") == 0.7
    assert of("best_two", "large_weight_share") == 1.0
    assert of("best_one", "max_item_weight") == 0.4
    assert of("best_one", "large_weight_share") == 1.0
    assert of("best_one", "quiz_weight_share") == 0.4


def test_content_type_prevalence(built, of):
    """
    Report p. 28: "The fraction of non-graded items in the course of the given type: videos, readings, practice
    assignments, other"
    Report p. 13: "% of Ungraded Items Practice Assignment from 3.1% to 22.9%"
    Report p. 13: "% of Ungraded Items Video from 44.9% to 64.5%"
    Report p. 13: "% of Ungraded Items Reading from 19.3% to 32.6%"
    """
    # 3, 2, 1 and 1 of the 7 that are not graded.
    assert of("mixed", "ungraded_video_share") == pytest.approx(3 / 7)
    assert of("mixed", "ungraded_reading_share") == pytest.approx(2 / 7)
    assert of("mixed", "ungraded_practice_share") == pytest.approx(1 / 7)
    assert of("mixed", "ungraded_other_share") == pytest.approx(1 / 7)


def test_ungraded_shares_are_zero_sum(built, of):
    """
    Report p. 14: "It is important to understand that the metrics in this section are constructed to be zero-sum."
    """
    kinds = ("video", "reading", "practice", "other")
    assert sum(of("mixed", f"ungraded_{kind}_share") for kind in kinds) == pytest.approx(1)


def test_item_assignment_and_week_count_and_video_time(built, of):
    """
    Report p. 29: "The total number of items (lectures, readings, assignments, etc.) in the course outline"
    Report p. 29: "The number of graded assignments in the course outline"
    Report p. 29: "The number of weeks of content in the course outline"
    Report p. 29: "The total video time (minutes) across the course"
    Report p. 29: "The total video time (minutes) in the first week of the course"
    """
    assert of("mixed", "item_count") == 11
    assert of("mixed", "assignment_count") == 4
    assert of("mixed", "week_count") == 4
    assert of("mixed", "video_minutes") == 60
    assert of("mixed", "first_week_video_minutes") == 10


def test_weekly_content_averages(built, of):
    """
    Report p. 29: "The mean number of entities per week: videos, readings, practice assignments, graded assignments,
    video minutes, graded assignment total grading weight"
    """
    # 3 videos, 2 readings, 1 practice, 4 graded, 60 minutes and the whole grade, over 4 weeks.
    assert of("mixed", "video_per_week") == 0.75
    assert of("mixed", "reading_per_week") == 0.5
    assert of("mixed", "practice_per_week") == 0.25
    assert of("mixed", "graded_per_week") == 1
    assert of("mixed", "video_minutes_per_week") == 15
    assert of("mixed", "graded_weight_per_week") == 0.25


def test_weekly_content_coefficients_of_variance(built, of):
    """
    Report p. 29: "The standard deviation number of entities per week divided by the mean number of entities per week:
    videos, readings, practice assignments, graded assignments, video minutes, graded assignment total grading weight"
    """
    # Over all four weeks, so the deviation divides by 4.
    # Videos 1, 2, 0, 0: mean 0.75, variance (0.0625 + 1.5625 + 0.5625 + 0.5625) / 4 = 0.6875, 0.829156 / 0.75.
    assert of("mixed", "video_weekly_variation") == pytest.approx(1.1055416, abs=1e-6)
    # Readings 1, 0, 0, 1: mean 0.5, deviation 0.5.
    assert of("mixed", "reading_weekly_variation") == pytest.approx(1)
    # Practice 0, 0, 1, 0: mean 0.25, variance (3 x 0.0625 + 0.5625) / 4 = 0.1875, 0.433013 / 0.25.
    assert of("mixed", "practice_weekly_variation") == pytest.approx(1.7320508, abs=1e-6)
    # One graded item in every week.
    assert of("mixed", "graded_weekly_variation") == pytest.approx(0)
    # Minutes 10, 50, 0, 0: mean 15, variance (25 + 1225 + 225 + 225) / 4 = 425, 20.615528 / 15.
    assert of("mixed", "video_minutes_weekly_variation") == pytest.approx(1.3743685, abs=1e-6)
    # Weights 0.1, 0.1, 0.5, 0.3: mean 0.25, variance (0.0225 + 0.0225 + 0.0625 + 0.0025) / 4 = 0.0275, 0.165831 / 0.25.
    assert of("mixed", "graded_weight_weekly_variation") == pytest.approx(0.6633250, abs=1e-6)


def test_the_example_of_a_centroid(built, of):
    """
    Report p. 29: "Graded assignment total weight centroid = (0*1 + 0.25*2 + 0.25*3 + 0.5*4)/4 = 0.8125"
    Report p. 15: "Graded Points Centroid from 0.61 to 0.68"
    """
    assert of("example", "graded_weight_centroid") == 0.8125


def test_content_centroids(built, of):
    """
    Report p. 29: "The midpoint of all the entities across the weeks of the course, divided by the number of weeks in
    the course: graded assignment total weight, video minutes, average learning time, graded assignments, practice
    assignments"
    Report p. 17: "Video Minutes Centroid from 0.5 to 0.59"
    """
    # (0.1 x 1 + 0.1 x 2 + 0.5 x 3 + 0.3 x 4) / 4 = 3 / 4.
    assert of("mixed", "graded_weight_centroid") == pytest.approx(0.75)
    # (10 x 1 + 50 x 2) / 60 / 4 = 110 / 240.
    assert of("mixed", "video_minutes_centroid") == pytest.approx(110 / 240)
    # One in each week: 2.5 / 4.
    assert of("mixed", "graded_centroid") == 0.625
    # The one practice stands in week 3 of 4.
    assert of("mixed", "practice_centroid") == 0.75


# Terms of the program: F20, S21, F21, S22, F22, S23, F23. algebra is taught in F20, F21 and F22: before F22 four terms
# began and two of them offered it, 0.5. `fresh` is first taught in F22: 0 of 4, whatever comes after.
# logic is taught in F20, when no term had gone before: null.
offered = University("offered", until="2024-03-31")
offered.given(
    "terms",
    """
    term_id  season  starts_on
    F20      fall    2020-09-07
    S21      spring  2021-01-18
    F21      fall    2021-09-06
    S22      spring  2022-01-17
    F22      fall    2022-09-05
    S23      spring  2023-01-16
    F23      fall    2023-09-04
    """,
)
offered.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F20")
offered.enrolled(
    """
    learner_id  course_id  term_id
    ben         algebra    F20
    ben         logic      F20
    ben         algebra    F21
    ana         algebra    F22
    ana         fresh      F22
    ana         fresh      S23
    ana         fresh      F23
    """
)


def test_fraction_of_past_terms_offering_the_course(built):
    """
    Report p. 28: "The fraction of past terms in the program that offered the course"
    Definitions, Course design: "Fraction of past terms offering the course: terms of the program that began before
    this offering, and in which it was offered."
    """
    column = "mart_retention_learner_course.offered_terms_share"
    assert built.value(offered, column, learner="ana", course="algebra") == 0.5
    assert built.value(offered, column, learner="ana", course="fresh") == 0
    assert built.value(offered, column, learner="ben", course="logic") is None


# algebra was made anew: in F21 one paper was the whole grade, in F22 two quizzes made half each. ben took it in F21,
# ana in F22, and each has the design of their own version.
made_anew = University("made_anew", until="2024-03-31")
made_anew.given("terms", "term_id starts_on \n F21 2021-09-06 \n F22 2022-09-05 \n F23 2023-09-04")
made_anew.given("course_offerings", "course_id term_id version_id \n algebra F21 v1 \n algebra F22 v2")
made_anew.items("algebra", "item_id kind weight \n paper staff_graded 1.0", version="v1")
made_anew.items("algebra", "item_id kind weight \n q1 quiz 0.5 \n q2 quiz 0.5", version="v2")
made_anew.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F21")
made_anew.enrolled("learner_id course_id term_id \n ana algebra F22 \n ben algebra F21")


def test_a_learner_has_the_design_of_the_version_that_was_taught(built):
    """
    Definitions, Time: "a control called "design" may use past offerings only."
    """
    columns = ("has_staff_graded", "quiz_weight_share", "max_item_weight")

    def row(learner: str) -> tuple:
        return tuple(built.value(made_anew, f"mart_retention_learner_course.{x}", learner=learner) for x in columns)

    assert row("ben") == (True, 0, 1)
    assert row("ana") == (False, 1, 0.5)
