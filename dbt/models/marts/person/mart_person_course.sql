-- A learner in a course: who, how it ended, and what was done, as institutional research counts it. Grain: one row per
-- learner × course × term.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ find_touched(this, ['course_enrollment_key'], person_course_inputs()) }}",
    post_hook="{{ keep_inputs(this) }}"
) }}

with enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
    where {{ is_touched(["course_enrollment_key"]) }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

days as (
    select
        course_enrollment_key,
        min(activity_on) as first_event_on,
        max(activity_on) as last_event_on,
        count(*) as active_days,
        {%- for kind in timed_kinds() %}
        sum({{ kind }}_event_count) as {{ kind }}_event_count,
        {%- endfor %}
        {%- for column in counts_of_day() %}
        sum({{ column }}) as {{ column }},
        {%- endfor %}
        sum(event_count) as event_count,
        sum(gap_count) as gap_count,
        sum(gap_seconds) as gap_seconds,
        max(longest_gap_seconds) as longest_gap_seconds,
        sum(total_5_seconds) as total_5_seconds,
        sum(total_30_seconds) as total_30_seconds
    from {{ ref("fct_timed_activity") }}
    where {{ is_touched(["course_enrollment_key"]) }}
    group by course_enrollment_key
),

-- What a source never tells is null, and 0 for who did nothing where it does.
types as (
    {{ told_types(ref("fct_timed_activity")) }}
),

watched as (
    select
        course_enrollment_key,
        count(distinct item_id) as watched_video_count,
        sum(watched_seconds) as distinct_watched_seconds,
        sum(watched_seconds * watch_count) as watched_seconds
    from {{ ref("fct_video_watch") }}
    where {{ is_touched(["course_enrollment_key"]) }}
    group by course_enrollment_key
),

{{ certificates_and_sources() }}

select
    enrollments.source,
    enrollments.course_enrollment_key,
    enrollments.learner_key,
    enrollments.course_key,
    enrollments.course_offering_key,
    learners.gender,
    learners.birth_year,
    learners.country,
    learners.education_level,
    enrollments.registered_on,
    enrollments.unregistered_on,
    enrollments.is_paid,
    case when types.has_event_count then coalesce(days.event_count, 0) > 0 end as is_viewed,
    case when certificate_sources.source is not null then certificates.certified_on is not null end as is_certified,
    certificates.certified_on,
    enrollments.completed_on,
    enrollments.outcome,
    enrollments.final_grade_share,
    days.first_event_on,
    days.last_event_on,
    case when types.has_event_count then coalesce(days.active_days, 0) end as active_days,
    cast(case when types.has_event_count then coalesce(days.event_count, 0) end as bigint) as event_count,
    {%- for kind in timed_kinds() %}
    cast(case when types.has_event_count then coalesce(days.{{ kind }}_event_count, 0) end as bigint)
        as {{ kind }}_event_count,
    {%- endfor %}
    {%- for column in counts_of_day() %}
    cast(case when types.has_{{ column }} then coalesce(days.{{ column }}, 0) end as bigint) as {{ column }},
    {%- endfor %}
    case when watched_sources.source is not null then coalesce(watched.watched_video_count, 0) end
        as watched_video_count,
    cast(
        case when watched_sources.source is not null then coalesce(watched.distinct_watched_seconds, 0) / 60.0 end
        as double
    ) as distinct_watched_minutes,
    cast(
        case when watched_sources.source is not null then coalesce(watched.watched_seconds, 0) / 60.0 end as double
    ) as watched_minutes,
    cast(case when types.has_event_count then coalesce(days.gap_count, 0) end as bigint) as gap_count,
    cast(case when types.has_event_count then coalesce(days.gap_seconds, 0) end as double) as gap_seconds,
    cast(days.gap_seconds / nullif(days.gap_count, 0) as double) as mean_gap_seconds,
    cast(days.longest_gap_seconds as double) as longest_gap_seconds,
    cast(case when types.has_event_count then coalesce(days.total_5_seconds, 0) end / 60 as double) as total_5_minutes,
    cast(case when types.has_event_count then coalesce(days.total_30_seconds, 0) end / 60 as double) as total_30_minutes
from enrollments
left join learners
    on enrollments.learner_key = learners.learner_key
left join days
    on enrollments.course_enrollment_key = days.course_enrollment_key
left join types
    on enrollments.source = types.source
left join watched
    on enrollments.course_enrollment_key = watched.course_enrollment_key
left join watched_sources
    on enrollments.source = watched_sources.source
left join certificates
    on
        enrollments.learner_key = certificates.learner_key
        and enrollments.course_key = certificates.course_key
        and enrollments.completed_on is not null
left join certificate_sources
    on enrollments.source = certificate_sources.source
