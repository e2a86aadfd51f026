"""Drivers of retention and the features beside them: definitions, printed figures and planted effects.

This is the one place that says how each column is computed. `population.tables` computes it from the simulated
population, the marts compute it from the landing files, and both must agree to the last digit of a double (1e-9).

Words used below
    row              LP: learner × program, first term. LC: learner × course taken in the first term (dropped ones too).
    window           the program's terms that start within 60 days of the first term's start + 365 days, at most half
                     the median gap between the program's starts, at least 30.
    matured          the drop deadlines of all terms of the window have passed by the last day of data. Analysis rows
                     are matured ones only, of learners who had not completed the program by then.
    retained         in a term of the window the learner has a course enrollment in the program that was not dropped on
                     or before the term's drop deadline.
    day              UTC calendar date. Day index = days since the start of the offering (0 = first day).
    learning task    an event of type `item_completed`.
    learning time    all events of a learner in the order of time, whatever their course; a gap of at most 30 minutes
                     counts for the course of the event that opens it, a longer gap ends the session and counts
                     nothing. A session of one event lasts 0. Seconds are summed and divided, never rounded.
    first deadline   due day of the graded item of the course version that is due first (one item by construction;
                     lowest position on ties). Before the deadline = day index <= due_day. A course without due days
                     has no first deadline: its first_* columns are null.
    midpoint         day index < floor(7 × weeks / 2).
    end              all events of the offering.
    dropped          dropped_on is not null.
    week             1 … weeks; weeks = largest week of the version's items. Weekly means, deviations (population
                     deviation, over all weeks, empty ones as 0) and centroids run over 1 … weeks.
    centroid         sum(x_w × w) / sum(x_w) / weeks.
    weight           `weight` of a graded item; the weights of a version sum to 1.
    leave-one-out    over the other analysis rows (LC, matured) of the same course, all terms; null without others.
    before the start before the first day of the first term.
    open content     enrollments in courses of course_type `open` with enrolled_at before the start. Stackable into the
                     program: at least 30 % of the open course's items are in shared_items with degree courses of that
                     program.
"""

from dataclasses import dataclass
from typing import Literal

IDLE_CAP_MINUTES = 30
STACKABLE_SHARE = 0.30

Level = Literal["learner_program", "learner_course"]
Kind = Literal["program", "design", "course", "own"]


@dataclass(frozen=True)
class Driver:
    """One driver of the report, or a null without a printed counterpart.

    Attributes:
        name: id, as in the driver catalogue.
        column: column of the analysis table and of the mart.
        kind: program (learner × program), design (fixed for a course), course (behaviour of a course's others), own.
        sample: rows on which it is studied.
        low, high: contrast; None for a binary driver means 0 → 1.
        planted: percent by which retention changes from low to high (module `truth`).
        definition: how the column is computed.
    """

    name: str
    column: str
    kind: Kind
    sample: Literal["all", "share > 0", "not dropped", "has a first deadline"]
    low: float
    high: float
    planted: float
    definition: str
    printed: bool = True

    @property
    def level(self) -> Level:
        """Grain of the table that holds the column."""
        return "learner_program" if self.kind == "program" else "learner_course"

    @property
    def is_binary(self) -> bool:
        """Whether the contrast is 0 → 1 of an indicator."""
        return self.column.startswith(("has_", "is_"))


DRIVERS: tuple[Driver, ...] = (
    Driver(
        "open_completion",
        "has_open_completion",
        "program",
        "all",
        0,
        1,
        12.0,
        "Completed at least one open course that does not stack into the program, before the start.",
    ),
    Driver(
        "stackable_enrolled",
        "has_stackable_enrollment",
        "program",
        "all",
        0,
        1,
        3.0,
        "Enrolled in at least one open course stackable into the program before the start (completed or not).",
    ),
    Driver(
        "stackable_completed",
        "has_stackable_completion",
        "program",
        "all",
        0,
        1,
        3.0,
        "Completed at least one open course stackable into the program before the start.",
    ),
    Driver(
        "open_paid_not_completed",
        "has_open_paid_not_completed",
        "program",
        "all",
        0,
        1,
        0.0,
        "Not stackable open courses before the start: at least one paid enrollment and none completed.",
    ),
    Driver(
        "open_enrolled_not_completed",
        "has_open_enrolled_not_completed",
        "program",
        "all",
        0,
        1,
        -1.5,
        "Not stackable open courses before the start: at least one enrollment, none paid, none completed.",
    ),
    Driver(
        "has_staff_graded",
        "has_staff_graded",
        "design",
        "all",
        0,
        1,
        6.0,
        "The course version has a graded item of kind staff_graded.",
    ),
    Driver(
        "has_hands_on",
        "has_hands_on",
        "design",
        "all",
        0,
        1,
        3.0,
        "It has a graded item of kind programming, staff_graded, peer_graded, discussion or team.",
    ),
    Driver(
        "has_peer_graded", "has_peer_graded", "design", "all", 0, 1, 0.5, "It has a graded item of kind peer_graded."
    ),
    Driver("has_quiz", "has_quiz", "design", "all", 0, 1, 0.0, "It has a graded item of kind quiz."),
    Driver(
        "staff_points_share",
        "staff_graded_weight_share",
        "design",
        "share > 0",
        0.5,
        0.85,
        1.5,
        "Sum of the weights of graded items of kind staff_graded; studied where above 0.",
    ),
    Driver(
        "peer_points_share",
        "peer_graded_weight_share",
        "design",
        "share > 0",
        0.1,
        0.4,
        -3.0,
        "Sum of the weights of graded items of kind peer_graded; studied where above 0.",
    ),
    Driver(
        "quiz_points_share",
        "quiz_weight_share",
        "design",
        "share > 0",
        0.25,
        0.8,
        -3.0,
        "Sum of the weights of graded items of kind quiz; studied where above 0.",
    ),
    Driver(
        "ungraded_practice_share",
        "ungraded_practice_share",
        "design",
        "all",
        0.031,
        0.229,
        2.0,
        "Ungraded items of kind practice / all ungraded items of the version.",
    ),
    Driver(
        "ungraded_video_share",
        "ungraded_video_share",
        "design",
        "all",
        0.449,
        0.645,
        0.0,
        "Ungraded items of kind video / all ungraded items of the version.",
    ),
    Driver(
        "ungraded_reading_share",
        "ungraded_reading_share",
        "design",
        "all",
        0.193,
        0.326,
        -1.5,
        "Ungraded items of kind reading / all ungraded items of the version.",
    ),
    Driver(
        "graded_points_centroid",
        "graded_weight_centroid",
        "design",
        "all",
        0.61,
        0.68,
        1.5,
        "Centroid of the graded items' weight over the week in which they stand (due).",
    ),
    Driver("max_item_weight", "max_item_weight", "design", "all", 0.2, 0.25, 1.5, "Largest weight of one graded item."),
    Driver(
        "course_median_days",
        "course_median_days_active",
        "course",
        "all",
        5,
        12,
        5.0,
        "Leave-one-out median of days_active over all rows of the course, dropped ones too.",
    ),
    Driver(
        "course_minutes_per_week",
        "course_learning_minutes_per_week",
        "course",
        "all",
        206,
        384.6,
        1.0,
        "Leave-one-out mean of learning minutes over the course's rows not dropped, divided by weeks.",
    ),
    Driver(
        "video_minutes_centroid",
        "video_minutes_centroid",
        "design",
        "all",
        0.5,
        0.59,
        -1.5,
        "Centroid of the planned minutes of items of kind video.",
    ),
    Driver(
        "courses_enrolled",
        "courses_enrolled_count",
        "program",
        "all",
        1,
        2,
        8.0,
        "Courses of the program with an enrollment of the learner in the first term, dropped ones too.",
    ),
    Driver("term_is_required", "is_required_term", "program", "all", 0, 1, 0.0, "terms.is_required of the first term."),
    Driver(
        "courses_dropped",
        "courses_dropped_count",
        "program",
        "all",
        0,
        1,
        -7.0,
        "Of those enrollments, the number with dropped_on not null.",
    ),
    Driver(
        "dropped_after_deadline",
        "has_drop_after_deadline",
        "program",
        "all",
        0,
        1,
        -8.0,
        "At least one of them was dropped after the term's drop_deadline_on.",
    ),
    Driver(
        "days_active",
        "days_active",
        "own",
        "not dropped",
        8,
        18,
        4.0,
        "Days with at least one learning task, whole course.",
    ),
    Driver(
        "grade_achieved",
        "final_grade_percent",
        "own",
        "not dropped",
        86.4,
        96.3,
        3.0,
        "course_enrollments.final_grade, percent; null when dropped.",
    ),
    Driver(
        "learning_hours",
        "learning_hours",
        "own",
        "not dropped",
        11.53,
        39.45,
        1.0,
        "Learning time in hours, whole course.",
    ),
    Driver(
        "first_on_time",
        "is_first_on_time",
        "own",
        "has a first deadline",
        0,
        1,
        6.0,
        "The first attempt of the item of the first deadline was submitted on or before its due day.",
    ),
    Driver(
        "first_days_active",
        "first_deadline_days_active",
        "own",
        "has a first deadline",
        2,
        5,
        3.0,
        "Days with a learning task, up to the first deadline.",
    ),
    Driver(
        "first_learning_hours",
        "first_deadline_learning_hours",
        "own",
        "has a first deadline",
        2.43,
        8.73,
        0.5,
        "Learning time in hours up to the first deadline.",
    ),
    Driver(
        "has_target_role",
        "has_target_role",
        "program",
        "all",
        0,
        1,
        0.0,
        "profiles.target_role is not null.",
        printed=False,
    ),
    Driver(
        "is_sponsored",
        "is_sponsored",
        "program",
        "all",
        0,
        1,
        0.0,
        "Member of an organization on the first day of the first term.",
        printed=False,
    ),
    Driver(
        "late_penalty",
        "late_penalty_share",
        "design",
        "all",
        0.25,
        0.75,
        0.0,
        "Graded items with a late penalty (late_penalty not null) / graded items.",
        printed=False,
    ),
    Driver(
        "forum_days",
        "forum_days",
        "own",
        "all",
        1,
        4,
        0.0,
        "Days with an event of type forum_view, forum_thread or forum_reply.",
        printed=False,
    ),
)
BY_NAME = {driver.name: driver for driver in DRIVERS}
NULLS = tuple(driver.name for driver in DRIVERS if driver.planted == 0)

# Columns beside the drivers: column → (table, definition).
CONTROLS: dict[str, tuple[Level, str]] = {
    "region": ("learner_program", "learners.region: country group."),
    "age_years": ("learner_program", "Year of the first term's start − birth_year."),
    "education_level": ("learner_program", "learners.education_level."),
    "employment_status": ("learner_program", "learners.employment_status at the start."),
    "is_long_time_learner": ("learner_program", "Registered more than 365 days before the first term's first day."),
    "terms_since_admitted_count": (
        "learner_program",
        "Terms of the program with admitted_on < starts_on < start of the first term.",
    ),
    "season": ("learner_program", "terms.season of the first term."),
    "has_support_ticket": (
        "learner_program",
        "At least one support ticket opened from the first to the last day of the first term.",
    ),
    "terms_per_year": ("learner_program", "programs.terms_per_year."),
    "terms_may_be_missed": ("learner_program", "programs.terms_may_be_missed."),
    "has_programming": ("learner_course", "Graded item of kind programming."),
    "has_discussion": ("learner_course", "Graded item of kind discussion."),
    "has_team": ("learner_course", "Graded item of kind team."),
    "has_plugin": ("learner_course", "Graded item of kind plugin."),
    "item_count": ("learner_course", "Items of the version."),
    "assignment_count": ("learner_course", "Graded items of the version."),
    "week_count": ("learner_course", "weeks."),
    "video_minutes": ("learner_course", "Sum of the minutes of items of kind video."),
    "assignment_group_share": ("learner_course", "Graded items with an assignment_group / graded items."),
    "small_weight_share": ("learner_course", "Graded items with weight < .05 / graded items."),
    "medium_weight_share": ("learner_course", "Graded items with .05 <= weight < .15 / graded items."),
    "large_weight_share": ("learner_course", "Graded items with weight >= .15 / graded items."),
    **{
        f"{kind}_per_week": ("learner_course", f"Mean over weeks of the number of ungraded items of kind {kind}.")
        for kind in ("video", "reading", "practice")
    },
    "video_minutes_per_week": ("learner_course", "Mean over weeks of the planned minutes of videos."),
    **{
        f"{name}_weekly_variation": ("learner_course", "Population deviation over weeks / mean over weeks.")
        for name in ("video", "reading", "practice", "graded", "video_minutes", "graded_weight")
    },
    "graded_per_week": ("learner_course", "Mean over weeks of the number of graded items."),
    "practice_centroid": ("learner_course", "Centroid of the number of ungraded practice items; null without any."),
    "graded_centroid": ("learner_course", "Centroid of the number of graded items."),
    "first_week_video_minutes": ("learner_course", "Planned minutes of the videos of week 1."),
    "midpoint_days_active": ("learner_course", "Days with a learning task, up to the midpoint."),
    "midpoint_learning_hours": ("learner_course", "Learning time in hours up to the midpoint."),
    **{
        f"{point}_submitted_share": (
            "learner_course",
            f"Weight of the graded items with a due day up to {words} whose first attempt came on or before the due "
            "day / weight of all such items; null without any.",
        )
        for point, words in (
            ("first_deadline", "the first deadline"),
            ("midpoint", "the midpoint (day index)"),
            ("end", "the end"),
        )
    },
}
