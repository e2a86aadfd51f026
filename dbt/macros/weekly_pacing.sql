{# How something is spread over the weeks of a course, as in appendix table 2 of the retention report. Aggregates. #}

{#
    Centroid: sum of value × week, divided by the sum of the values and by the number of weeks. 1 when everything stands
    in the last week; null when there is nothing. The report's example, 0, 25, 25 and 50 % in four weeks, gives 0.8125.
    `value` is a whole number or a decimal (macro `exact`), over rows of items or of weeks alike.
#}
{% macro weekly_centroid(value, week, week_count) -%}
    cast(sum({{ value }} * {{ week }}) as double)
    / nullif(cast(sum({{ value }}) as double), 0)
    / {{ week_count }}
{%- endmacro %}


{#
    Coefficient of variation: population deviation over all weeks divided by the mean, weeks without a row as 0; null
    when there is nothing. `value` is a decimal (macro `exact`), one row per week. With n weeks it is
    sqrt(n Σx² − (Σx)²) / Σx: of decimals, hence 0 and not almost 0 when all weeks are equal.
#}
{% macro weekly_variation(value, week_count) -%}
    sqrt(cast(
        cast({{ week_count }} as decimal(4, 0)) * cast(sum({{ value }} * {{ value }}) as decimal(33, 18))
        - cast(sum({{ value }}) as decimal(18, 9)) * cast(sum({{ value }}) as decimal(18, 9))
        as double
    ))
    / nullif(cast(sum({{ value }}) as double), 0)
{%- endmacro %}


{# Kinds of graded items, as the report tells them apart. #}
{% macro assignment_kinds() %}
    {% do return(["quiz", "staff_graded", "peer_graded", "programming", "plugin", "discussion", "team"]) %}
{% endmacro %}


{# Kinds of ungraded items, as the report tells them apart; what is none of them is `other`. #}
{% macro lesson_kinds() %}
    {% do return(["video", "reading", "practice"]) %}
{% endmacro %}


{# The columns of mart_course_version that say how a version is made, in its order. #}
{% macro design_columns() %}
    {% set columns = ["offered_terms_share"] %}
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
