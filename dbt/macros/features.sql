{# The features of the retention report by the grain at which they are defined: names of columns of the marts. #}

{# Kinds of graded items, as the report tells them apart. #}
{% macro assignment_kinds() %}
    {% do return(["quiz", "staff_graded", "peer_graded", "programming", "plugin", "discussion", "team"]) %}
{% endmacro %}


{# Kinds of ungraded items, as the report tells them apart; what is none of them is `other`. #}
{% macro lesson_kinds() %}
    {% do return(["video", "reading", "practice"]) %}
{% endmacro %}


{# Of the learner in the program: columns of mart_learner_program. #}
{% macro learner_program_columns() %}
    {% do return([
        "region", "age_years", "education_level", "employment_status", "is_long_time_learner",
        "has_target_role", "is_sponsored", "terms_per_year", "terms_may_be_missed", "program_load_q25",
        "program_load_median", "program_load_q75", "program_load_iqr", "terms_since_admitted_count", "season",
        "is_required_term", "has_open_completion", "has_open_paid_not_completed",
        "has_open_enrolled_not_completed", "has_stackable_enrollment", "has_stackable_completion",
        "has_open_enrollment_any", "has_open_paid_enrollment_any", "has_open_completion_any",
        "courses_enrolled_count", "courses_dropped_count", "has_drop_after_deadline", "has_support_ticket",
        "has_payment_ticket", "has_technical_ticket", "has_academic_ticket", "has_enrollment_ticket",
    ]) %}
{% endmacro %}


{# Of the version of the course: columns of mart_course_version, in its order. #}
{% macro design_columns() %}
    {% set columns = [] %}
    {% for kind in assignment_kinds() %}{% do columns.append("has_" ~ kind) %}{% endfor %}
    {% do columns.append("has_hands_on") %}
    {% for kind in assignment_kinds() %}{% do columns.append(kind ~ "_item_share") %}{% endfor %}
    {% for kind in assignment_kinds() %}{% do columns.append(kind ~ "_weight_share") %}{% endfor %}
    {% do columns.extend([
        "late_penalty_share", "assignment_group_share",
        "max_item_weight", "small_weight_share", "medium_weight_share", "large_weight_share",
        "ungraded_video_share", "ungraded_reading_share", "ungraded_practice_share", "ungraded_other_share",
        "item_count", "assignment_count", "week_count", "video_minutes",
        "video_per_week", "reading_per_week", "practice_per_week", "video_minutes_per_week",
        "video_weekly_variation", "reading_weekly_variation", "practice_weekly_variation",
        "video_minutes_weekly_variation", "video_minutes_centroid", "practice_centroid", "first_week_video_minutes",
        "first_due_day",
        "graded_per_week", "graded_weight_per_week", "graded_weekly_variation", "graded_weight_weekly_variation",
        "graded_centroid", "graded_weight_centroid",
    ]) %}
    {% do return(columns) %}
{% endmacro %}


{# Of the learner in the course: columns of mart_learner_course. #}
{% macro own_behaviour_columns() %}
    {% do return([
        "first_deadline_submitted_share", "is_first_on_time", "has_passed_first",
        "first_deadline_days_active", "first_deadline_learning_hours", "midpoint_days_active",
        "midpoint_learning_hours", "midpoint_submitted_share", "end_submitted_share", "days_active",
        "learning_hours", "final_grade_percent", "forum_days", "forum_posting_days", "forum_thread_count",
        "forum_reply_count",
    ]) %}
{% endmacro %}


{# Of the other learners of the offering, without the learner of the row: columns of the retention analysis. #}
{% macro course_behaviour_columns() %}
    {% do return([
        "course_median_days_active", "course_learning_minutes_per_week", "learning_minutes_weekly_variation",
        "learning_minutes_centroid",
    ]) %}
{% endmacro %}
