-- What learners did in a course on a day, from the times of single events, and the time between them. Grain: one row
-- per source × learner × course × term × day, UTC.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook=["{{ find_stale_timed_days(this) }}", "{{ delete_stale_timed_days(this) }}"]
) }}

{#- Slices by the number of events, in thousands: a row may have one of them or hundreds. #}
{{ in_slices(
    4000,
    "(select unnest(range(cast(sum(event_count) // 1000 as bigint))) from " ~ ref("int_events_summarized")
    ~ " where kinds_and_times is not null and " ~ is_stale_timed_day("occurred_on") ~ ")"
) }}

-- A source that knows days and no times has no row here. Numbers stand in for keys on the way: with the keys' text,
-- windows take several times as long.
with summaries as (
    select
        *,
        dense_rank() over (order by course_enrollment_key, occurred_on) as day_number
    from {{ ref("int_events_summarized") }}
    where
        {{ in_slice("occurred_on") }}
        and kinds_and_times is not null
        and {{ is_stale_timed_day("occurred_on") }}
),

codes as (
    select
        summaries.day_number,
        codes.code
    from summaries
    cross join {{ elements_of("summaries.kinds_and_times", "codes", "code") }}
),

moments as (
    select
        day_number,
        code,
        {{ whole_quotient("code", 8) }} as moment,
        code % 8 as kind
    from codes
),

gaps as (
    select
        day_number,
        moment,
        kind,
        moment - lag(moment) over (partition by day_number order by code) as gap,
        moment - lag(moment) over (partition by day_number, kind order by code) as gap_of_kind,
        moment - max(case when kind > 0 then moment end) over (
            partition by day_number
            order by code
            rows between unbounded preceding and 1 preceding
        ) as serial_gap
    from moments
),

timed as (
    select
        day_number,
        min(moment) as first_moment,
        max(moment) as last_moment,
        count(*) as event_count,
        {%- for kind in timed_kinds() %}
        count(case when kind = {{ loop.index }} then 1 end) as {{ kind }}_event_count,
        {%- endfor %}
        {%- for limit in gap_limits() %}
        sum(case when gap <= {{ limit * 60000000 }} then gap else 0 end) as total_{{ limit }}_microseconds,
        {%- for kind in timed_kinds() %}
        sum(case when kind = {{ loop.index }} and gap_of_kind <= {{ limit * 60000000 }} then gap_of_kind else 0 end)
            as {{ kind }}_{{ limit }}_microseconds,
        sum(case when kind = {{ loop.index }} and serial_gap <= {{ limit * 60000000 }} then serial_gap else 0 end)
            as serial_{{ kind }}_{{ limit }}_microseconds,
        {%- endfor %}
        {%- endfor %}
        count(case when gap <= {{ gap_limits()[0] * 60000000 }} then 1 end) as gap_count,
        sum(case when gap <= {{ gap_limits()[0] * 60000000 }} then gap else 0 end) as gap_microseconds,
        max(case when gap <= {{ gap_limits()[0] * 60000000 }} then gap end) as longest_gap_microseconds
    from gaps
    group by day_number
),

-- A day has several rows where some of it became known later, or is another day where the program is.
days as (
    select
        {%- for column in counts_of_day() %}
        sum({{ column }}) as {{ column }},
        {%- endfor %}
        day_number,
        source,
        course_enrollment_key,
        occurred_on
    from summaries
    group by day_number, source, course_enrollment_key, occurred_on
),

day_hashes as (
    select
        source,
        occurred_on,
        {{ timed_day_hash() }} as day_hash
    from summaries
    group by source, occurred_on
)

select
    days.source,
    days.course_enrollment_key,
    days.occurred_on as activity_on,
    {{ moment_of("timed.first_moment") }} as first_at,
    {{ moment_of("timed.last_moment") }} as last_at,
    {%- for column in timed_measures() + ["longest_gap_microseconds"] %}
    cast({{ "days" if column in counts_of_day() else "timed" }}.{{ column }} as bigint) as {{ column }},
    {%- endfor %}
    day_hashes.day_hash
from days
inner join timed
    on days.day_number = timed.day_number
inner join day_hashes
    on
        days.source = day_hashes.source
        and days.occurred_on = day_hashes.occurred_on
