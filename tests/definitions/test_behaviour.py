"""What learners do in a course (figures 8, 10 and 11, appendix table 2)."""

import pytest

from tests.definitions.university import University, later

# A course of four weeks from Monday 5 September to 2 October 2022 (days 0 to 27). Graded: a quiz of 20 % due at the
# end of day 6 (11 September), one of 30 % due on day 13 (18 September), a paper of 50 % due on day 27. Half way is
# day 14, 19 September.
activity = University("activity", until="2024-03-31")
activity.given("terms", "term_id starts_on ends_on \n F22 2022-09-05 2022-10-02 \n F23 2023-09-04 2023-10-01")
activity.given("courses", "course_id passing_share \n algebra 0.8")
activity.given("program_enrollments", "learner_id first_term_id \n ana F22 \n ben F22 \n cleo F22 \n dan F22")
activity.items(
    "algebra",
    """
    item_id  kind          week  weight  due_day
    film     video         1     -       -
    quiz1    quiz          1     0.2     6
    quiz2    quiz          2     0.3     13
    paper    staff_graded  4     0.5     27
    """,
)
activity.given(
    "course_enrollments",
    """
    learner_id  course_id  term_id  final_grade  completed_on  dropped_on
    ana         algebra    F22      91.5         2022-10-02    -
    ben         algebra    F22      60           -             -
    cleo        algebra    F22      -            -             2022-09-15
    dan         algebra    F22      55           -             -
    """,
)
# ana, in minutes of learning time (gaps up to half an hour):
#   5 September (day 0)   two tasks 20 minutes apart                         20
#   6 September (day 1)   a page and a film played 10 minutes apart, no task 10
#   11 September (day 6)  one task, on the due day of the first quiz          0
#   18 September (day 13) two tasks 15 minutes apart, the last day before half way   15
#   20 September (day 15) two tasks 30 minutes apart                         30
# To the first deadline: 2 days (0 and 6), 30 minutes. To half way: 3 days, 45 minutes. In all: 4 days, 75 minutes.
activity.events(
    """
    learner_id  course_id  item_id  event_type      occurred_at
    ana         algebra    film     item_completed  2022-09-05T18:00
    ana         algebra    film     item_completed  2022-09-05T18:20
    ana         algebra    -        page_view       2022-09-06T18:00
    ana         algebra    film     video_progress  2022-09-06T18:10
    ana         algebra    quiz1    item_completed  2022-09-11T20:00
    ana         algebra    film     item_completed  2022-09-18T20:00
    ana         algebra    film     item_completed  2022-09-18T20:15
    ana         algebra    film     item_completed  2022-09-20T19:00
    ana         algebra    paper    item_completed  2022-09-20T19:30
    """
)
# ana hands in the first quiz on its due day, the second two days late, the paper on its due day.
#   At the first deadline 20 % were due, all in time: 1.  Half way 50 % were due and 20 % in time: 0.4.
#   In the end 100 % were due and 70 % in time: 0.7.  Her first quiz has 8 of 10 points, the pass mark is 80 %: passed.
# ben hands in the first quiz in time with 7.9 points: in time, not passed. A second attempt with 10 changes nothing.
# cleo hands it in a day late.  dan never does.
activity.given(
    "submissions",
    """
    learner_id  course_id  item_id  attempt_number  submitted_at      score
    ana         algebra    quiz1    1               2022-09-11T21:00  8
    ana         algebra    quiz2    1               2022-09-20T21:00  8
    ana         algebra    paper    1               2022-10-02T21:00  8
    ben         algebra    quiz1    1               2022-09-10T21:00  7.9
    ben         algebra    quiz1    2               2022-09-11T21:00  10
    cleo        algebra    quiz1    1               2022-09-12T00:01  10
    """,
)
# ben in the forum: looks on the 7th, opens a thread and replies on the 8th, replies on the 20th.
activity.events(
    """
    learner_id  course_id  event_type    occurred_at
    ben         algebra    forum_view    2022-09-07T10:00
    ben         algebra    forum_thread  2022-09-08T10:00
    ben         algebra    forum_reply   2022-09-08T11:00
    ben         algebra    forum_reply   2022-09-20T10:00
    """
)
SPANS = ("first_deadline", "midpoint")


def of(built, learner: str, column: str) -> object:
    return built.value(activity, f"mart_retention_learner_course.{column}", learner=learner)


def test_days_active_are_days_with_a_learning_task(built):
    """
    Report p. 30: "The cumulative sum of unique days on which the student completed at least one learning task (watched
    lecture, viewed reading, completed assignment, etc.) in the course across various time durations: before the first
    assignment deadline, before the midway point in the course, across the entire course"
    Report p. 21: "Count of Days Active from 8 to 18"
    Report p. 23: "First Deadline Count of Days Active from 2 to 5"
    """
    columns = ("first_deadline_days_active", "midpoint_days_active", "days_active")
    assert [of(built, "ana", column) for column in columns] == [2, 3, 4]
    assert built.value(activity, "mart_learner_course.active_days", learner="ana") == 5


def test_learning_hours(built):
    """
    Report p. 30: "The cumulative sum of learning time for the student in the course across various time durations:
    before the first assignment deadline, before the midway point in the course, across the entire course"
    Report p. 21: "Sum Learning Session Hours from 11.53 to 39.45"
    Report p. 23: "First Deadline Sum Learning Session Hours from 2.43 to 8.73"
    """
    columns = ("first_deadline_learning_hours", "midpoint_learning_hours", "learning_hours")
    assert [of(built, "ana", column) for column in columns] == pytest.approx([30 / 60, 45 / 60, 75 / 60])


def test_fraction_of_assignments_submitted_before_the_deadline(built):
    """
    Report p. 30: "The fraction of graded items (weighted by contribution to the final course grade) that the student
    submitted before the assignment deadline, calculated across various points during the course: at the first
    deadline, at the midway point in the course, on the last deadline in the course"
    """
    columns = ("first_deadline_submitted_share", "midpoint_submitted_share", "end_submitted_share")
    assert [of(built, "ana", column) for column in columns] == pytest.approx([1, 0.4, 0.7])
    assert [of(built, "dan", column) for column in columns] == [0, 0, 0]


def test_the_first_assignment_turned_in_on_time(built):
    """
    Report p. 23: "Turned In First Assignment Ontime from 0 to 1"
    """
    flags = [of(built, learner, "is_first_on_time") for learner in ("ana", "ben", "cleo", "dan")]
    assert flags == [True, True, False, False]


def test_the_first_assignment_turned_in_and_passed(built):
    """
    Report p. 24: "Turning in the first graded assessment and passing drives a 6% increase in overall degree
    persistence."
    """
    flags = [of(built, learner, "has_passed_first") for learner in ("ana", "ben", "cleo", "dan")]
    assert flags == [True, False, False, False]


def test_grade_achieved(built):
    """
    Report p. 30: "The final grade that the student earned in the course"
    Report p. 21: "Grade Achieved from 86.4% to 96.3%"
    """
    assert of(built, "ana", "final_grade_percent") == 91.5
    # Who left has no grade.
    assert of(built, "cleo", "final_grade_percent") is None
    assert of(built, "cleo", "is_dropped") is True


def test_forum_activity(built):
    """
    Report p. 29: "The unique number of days that the student accessed the course forum"
    Report p. 29: "The unique number of days that the student posted a thread or a reply in the course forum"
    Report p. 29: "The total number of forum threads initiated by the student in the course forum"
    Report p. 29: "The total number of forum thread replies posted by the student in the course forum"
    """
    columns = ("forum_days", "forum_posting_days", "forum_thread_count", "forum_reply_count")
    assert [of(built, "ben", column) for column in columns] == [3, 2, 1, 2]
    assert [of(built, "dan", column) for column in columns] == [0, 0, 0, 0]


def test_a_course_with_a_first_deadline_has_its_day(built):
    """
    Report p. 24: "As students are working towards this first deadline in their degree journey, the number of days
    active is more critical than learning time."
    """
    assert of(built, "ana", "first_due_day") == 6


# Eleven learners of one course of four weeks: number k is active on the first k days, 10 minutes a day.
# For k = 1 the others are active on 2 to 11 days: median 6.5. For k = 11 on 1 to 10 days: 5.5.
# For k = 1 the others learn 20 to 110 minutes, 65 on average: 16.25 a week. By week: days 1 to 7 lie in week 1.
#   Week 1: 10 x (2 + 3 + 4 + 5 + 6 + 7 + 7 + 7 + 7 + 7) = 550 minutes of ten learners, 55 on average.
#   Week 2: 10 x (1 + 2 + 3 + 4) = 100 of ten, 10 on average. Weeks 3 and 4: 0.
#   Variation: mean 16.25, variance (38.75² + 6.25² + 16.25² + 16.25²) / 4 = 517.1875, 22.741757 / 16.25 = 1.399493.
#   Centroid: (55 x 1 + 10 x 2) / 65 / 4 = 75 / 260.
together = University("together", until="2024-03-31")
# The same with ten learners: each has nine others, too few.
few = University("few", until="2024-03-31")
# The course was also taught the year before, to twelve learners who were active on 20 days each. They are no others of
# those of F22.
for university, learners in ((together, 11), (few, 10)):
    university.given(
        "terms",
        """
        term_id  starts_on   ends_on     drop_deadline_on
        F21      2021-09-06  2021-10-03  2021-09-13
        F22      2022-09-05  2022-10-02  2022-09-12
        F23      2023-09-04  2023-10-01  2023-09-11
        """,
    )
    university.items("algebra", "item_id kind week \n film video 1 \n end reading 4")
    for number in range(1, 13):
        university.add("course_enrollments", learner_id=f"old{number}", course_id="algebra", term_id="F21")
        for days in range(20):
            at = f"{later('2021-09-06', days)}T18:00"
            university.add("events", learner_id=f"old{number}", course_id="algebra", item_id="film", occurred_at=at)
    for number in range(1, learners + 1):
        learner = f"k{number}"
        university.add("program_enrollments", learner_id=learner, first_term_id="F22")
        university.add("course_enrollments", learner_id=learner, course_id="algebra", term_id="F22")
        for days in range(number):
            for minute in ("00", "10"):
                at = f"{later('2022-09-05', days)}T18:{minute}"
                university.add("events", learner_id=learner, course_id="algebra", item_id="film", occurred_at=at)
MEDIAN = "mart_retention_learner_course.course_median_days_active"
MINUTES = "mart_retention_learner_course.course_learning_minutes_per_week"


def test_course_median_days_leave_the_learner_out(built):
    """
    Report p. 17: "Course Median Days Active from 5 to 12"
    Definitions, Course design: "Course median days, minutes a week: leave-one-out over the other learners of the same
    version × term where they are at least 10, else null"
    """
    assert built.value(together, MEDIAN, learner="k1") == 6.5
    assert built.value(together, MEDIAN, learner="k11") == 5.5


def test_learning_minutes_a_week_of_the_others(built):
    """
    Report p. 17: "Avg Learning Minutes Per Week from 206 to 384.6"
    Report p. 29: "The mean of learning minutes (inferred from logs of on-platform course progress) required per week
    by the average student"
    """
    assert built.value(together, MINUTES, learner="k1") == pytest.approx(16.25)


def test_learning_time_from_week_to_week(built):
    """
    Report p. 29: "The standard deviation of learning minutes required per week by the average student divided by the
    mean number of learning minutes required by the average student"
    Report p. 29: "The midpoint of all the entities across the weeks of the course, divided by the number of weeks in
    the course: graded assignment total weight, video minutes, average learning time, graded assignments, practice
    assignments"
    """
    variation = "mart_retention_learner_course.learning_minutes_weekly_variation"
    assert built.value(together, variation, learner="k1") == pytest.approx(1.399493, abs=1e-5)
    centroid = "mart_retention_learner_course.learning_minutes_centroid"
    assert built.value(together, centroid, learner="k1") == pytest.approx(75 / 260)


def test_nine_others_are_too_few_for_a_median(built):
    """
    Definitions, Course design: "Course median days, minutes a week: leave-one-out over the other learners of the same
    version × term where they are at least 10, else null"
    """
    assert built.value(few, MEDIAN, learner="k1") is None
    assert built.value(few, MINUTES, learner="k1") is None


def test_the_figure_over_everybody_has_another_name(built):
    """
    Definitions, Course design: "mart_course's figure over everybody has another name."
    """
    # 1 to 11 days and twelve times 20: the twelfth of 23.
    assert built.value(together, "mart_course.all_learners_median_days_active", course="algebra") == 20


# ana opens every kind of item once, the graded ones too: two quizzes, a staff-graded paper and a program
# (assignments), a discussion, team work. Each is one click of its kind.
every_kind = University("every_kind", until="2024-03-31")
every_kind.given("terms", "term_id starts_on \n F22 2022-09-05")
every_kind.given("program_enrollments", "learner_id first_term_id \n ana F22")
every_kind.enrolled("learner_id course_id term_id \n ana algebra F22")
every_kind.items(
    "algebra",
    """
    item_id  kind          weight
    film     video         -
    text     reading       -
    try      practice      -
    quiz1    quiz          0.2
    quiz2    quiz          0.2
    paper    staff_graded  0.2
    code     programming   0.2
    talk     discussion    0.1
    team     team          0.1
    """,
)
for minute, item in enumerate(("film", "text", "try", "quiz1", "quiz2", "paper", "code", "talk", "team")):
    every_kind.add(
        "events", learner_id="ana", course_id="algebra", item_id=item, occurred_at=f"2022-09-06T18:{minute:02}"
    )


def test_activity_on_graded_items_is_activity(built):
    """
    Definitions, Course design: "Activity on graded items (quizzes taken, assignments opened, discussions) is activity;
    no kind of item is left out of it."
    """
    counts = {
        kind: built.value(every_kind, f"mart_learner_course.{kind}_click_count", learner="ana")
        for kind in ("video", "reading", "practice", "quiz", "assignment", "discussion", "team")
    }
    assert counts == {
        "video": 1,
        "reading": 1,
        "practice": 1,
        "quiz": 2,
        "assignment": 2,
        "discussion": 1,
        "team": 1,
    }
    assert built.value(every_kind, "mart_learner_course.click_count", learner="ana") == 9
