{# What models of the times of single events share. #}

{# Gaps between events that are longer count nothing: the rules of institutional research, in minutes. #}
{% macro gap_limits() %}
    {% do return([5, 30]) %}
{% endmacro %}


{# Kinds of activity whose time is told apart. #}
{% macro timed_kinds() %}
    {% do return(["video", "problem", "forum", "text"]) %}
{% endmacro %}


{# Columns that count events by their types, beside those of counted_event_types. #}
{% macro timed_counts() %}
    {% do return({
        "play_count": ["video_played"],
        "pause_count": ["video_paused"],
        "seek_count": ["video_seeked"],
        "transcript_count": ["video_interacted"],
        "problem_check_count": ["problem_checked"],
        "answer_shown_count": ["answer_shown"],
        "sequence_count": ["sequence_navigated"],
        "page_count": ["page_viewed", "page_view"],
    }) %}
{% endmacro %}


{# All columns of a day that count events by their types, those of fct_daily_activity included. #}
{% macro counts_of_day() %}
    {% do return(timed_counts().keys() | list + counted_event_types().keys() | list) %}
{% endmacro %}


{# Columns of time by the gap rules, in microseconds. #}
{% macro timed_gaps() %}
    {% set columns = [] %}
    {% for limit in gap_limits() %}
        {% do columns.append("total_" ~ limit ~ "_microseconds") %}
        {% for kind in timed_kinds() %}
            {% do columns.append(kind ~ "_" ~ limit ~ "_microseconds") %}
            {% do columns.append("serial_" ~ kind ~ "_" ~ limit ~ "_microseconds") %}
        {% endfor %}
    {% endfor %}
    {% do return(columns) %}
{% endmacro %}


{# All measures of the table. #}
{% macro timed_measures() %}
    {% set columns = ["event_count"] %}
    {% for kind in timed_kinds() %}{% do columns.append(kind ~ "_event_count") %}{% endfor %}
    {% do return(columns + counts_of_day() + ["gap_count", "gap_microseconds"] + timed_gaps()) %}
{% endmacro %}


{#
    Times of a group's events with their kinds, in order: eight times the microseconds, plus the number of the kind in
    timed_kinds from 1 on; 0: another kind. An aggregate over events and the items that they name.
#}
{% macro kinds_and_times(events, items) -%}
    {%- set number -%}
    case when {{ events }}.is_counted then {{ microseconds(events ~ ".occurred_at") }} * 8 + case
        when left({{ events }}.event_type, 6) = 'forum_' or {{ items }}.activity_kind = 'discussion' then 3
        when {{ items }}.activity_kind = 'video' then 1
        when {{ items }}.activity_kind in ('quiz', 'practice', 'assignment') then 2
        when {{ items }}.activity_kind in ('reading', 'navigation') then 4
        when {{ events }}.event_type in ('page_viewed', 'page_view') then 4
        else 0
    end end
    {%- endset -%}
    {{ sorted_numbers(number) }}
{%- endmacro %}


{# Fingerprint of a day of int_events_summarized, from which int_timed_activity follows. #}
{% macro timed_day_hash() -%}
    sum({{ row_hash(["course_enrollment_key", "kinds_and_times"] + counts_of_day()) }})
{%- endmacro %}


{# Whether a source has events of a type at all, by the columns that count them: of others nothing is known. #}
{% macro told_types(activity) %}
    select
        {%- for column in counts_of_day() %}
        max({{ column }}) > 0 as has_{{ column }},
        {%- endfor %}
        max(event_count) > 0 as has_event_count,
        source
    from {{ activity }}
    group by source
{% endmacro %}


{# From what the row of mart_person_course of an enrollment follows. #}
{% macro person_course_inputs() %}
{%- set hashed = [
    "enrollments.source", "enrollments.learner_key", "enrollments.course_key", "enrollments.course_offering_key",
    "enrollments.registered_on", "enrollments.unregistered_on", "enrollments.is_paid", "enrollments.completed_on",
    "enrollments.outcome", "enrollments.final_grade_share", "learners.gender", "learners.birth_year",
    "learners.country", "learners.education_level", "days.days_hash", "watched.watched_hash", "certificates.certified_on",
    "enrollments.source in (select watched_sources.source from watched_sources)",
    "enrollments.source in (select certificate_sources.source from certificate_sources)", "types.has_event_count",
] %}
{%- for column in counts_of_day() %}{% do hashed.append("types.has_" ~ column) %}{% endfor %}
{%- set event_counts = [] %}
{%- for kind in timed_kinds() %}{% do event_counts.append(kind ~ "_event_count") %}{% endfor %}
with types as (
    {{ told_types(ref("fct_timed_activity")) }}
),

days as (
    select
        course_enrollment_key,
        sum({{ row_hash(
            ["activity_on", "event_count", "gap_count", "gap_seconds", "longest_gap_seconds", "total_5_seconds",
            "total_30_seconds"]
            + event_counts + counts_of_day()
        ) }}) as days_hash
    from {{ ref("fct_timed_activity") }}
    group by course_enrollment_key
),

watched as (
    select
        course_enrollment_key,
        sum({{ row_hash(["item_id", "first_second", "watched_seconds", "watch_count"]) }}) as watched_hash
    from {{ ref("fct_video_watch") }}
    group by course_enrollment_key
),

{{ certificates_and_sources() }}

select
    enrollments.course_enrollment_key,
    {{ row_hash(hashed) }} as inputs_hash
from {{ ref("fct_course_enrollment") }} as enrollments
left join {{ ref("dim_learner") }} as learners
    on enrollments.learner_key = learners.learner_key
left join types
    on enrollments.source = types.source
left join days
    on enrollments.course_enrollment_key = days.course_enrollment_key
left join watched
    on enrollments.course_enrollment_key = watched.course_enrollment_key
left join certificates
    on
        enrollments.learner_key = certificates.learner_key
        and enrollments.course_key = certificates.course_key
{% endmacro %}


{# CTEs: the first certificate of a learner for a course, and which sources tell any, or what was watched. #}
{% macro certificates_and_sources() -%}
watched_sources as (
    select distinct source
    from {{ ref("fct_video_watch") }}
),

certificates as (
    select
        learner_key,
        course_key,
        min(issued_on) as certified_on
    from {{ ref("fct_credential") }}
    where kind = 'course_certificate'
    group by learner_key, course_key
),

certificate_sources as (
    select distinct source
    from {{ ref("fct_credential") }}
    where kind = 'course_certificate'
)
{%- endmacro %}


{#
    From what the rows of a day of the person marts follow.
    has_types: whether they tell types of events.
#}
{% macro told_day_inputs(has_types) %}
{%- set hashed = [
    "activity.day_hash", "activity.course_enrollment_key", "activity.learner_key", "activity.course_key",
    "activity.course_offering_key",
] %}
{%- if has_types %}
{%- for column in counts_of_day() %}{% do hashed.append("types.has_" ~ column) %}{% endfor %}
with types as (
    {{ told_types(ref("fct_timed_activity")) }}
)
{% endif %}
select
    activity.source,
    activity.activity_on,
    sum({{ row_hash(hashed) }}) as inputs_hash
from {{ ref("fct_timed_activity") }} as activity
{%- if has_types %}
inner join types
    on activity.source = types.source
{%- endif %}
group by activity.source, activity.activity_on
{% endmacro %}


{#
    Days of raw on which int_timed_activity differs from what int_events_summarized holds. Found and replaced like the
    dates of fct_daily_activity.
#}
{% macro find_stale_timed_days(relation) %}
    {%- if is_incremental() -%}
        create or replace temporary table stale_timed_days as
        select
            coalesce(built.source, fresh.source) as source,
            coalesce(built.activity_on, fresh.occurred_on) as activity_on
        from (select distinct source, activity_on, day_hash from {{ relation }}) as built
        full outer join (
            select source, occurred_on, {{ timed_day_hash() }} as day_hash
            from {{ ref("int_events_summarized") }}
            where kinds_and_times is not null
            group by source, occurred_on
        ) as fresh
            on built.source = fresh.source and built.activity_on = fresh.occurred_on
        where built.day_hash is distinct from fresh.day_hash
    {%- endif -%}
{% endmacro %}


{% macro delete_stale_timed_days(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }} where (source, activity_on) in (select source, activity_on from stale_timed_days)
    {%- endif -%}
{% endmacro %}


{# What the model inserts: the days found before, or all of them when the table is new. #}
{% macro is_stale_timed_day(date_column) -%}
    {%- if is_incremental() -%}
    (source, {{ date_column }}) in (select stale_timed_days.source, stale_timed_days.activity_on from stale_timed_days)
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}
