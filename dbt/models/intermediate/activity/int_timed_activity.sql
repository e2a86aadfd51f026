-- What learners did in a course on a day, from the times of single events, and the time between them. Grain: one row
-- per source × learner × course × term × day, UTC.
{{ config(
    materialized="incremental",
    incremental_strategy="append",
    on_schema_change="fail",
    pre_hook="{{ delete_timed_days(this) }}"
) }}

-- depends_on: {{ ref("int_events_summarized") }}
{%- set asked = "occurred_at is not null and " ~ timed_days_to_rebuild("occurred_on") %}

{{ in_slices(4000000, "(" ~ union_contracts("events", where=asked) ~ ")") }}

-- A source that knows days and no times has no row here, and nothing of it is read.
with deliveries as (
    {{ union_contracts("events", where=asked ~ " and " ~ in_slice("learner_id")) }}
),

items as (
    select * from {{ ref("int_course_items_offered") }}
    where missing_reference is null
),

-- An event delivered again is there once; without an id every row counts.
delivered as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        item_id,
        event_type,
        occurred_on,
        occurred_at,
        event_id,
        case when event_id is null then count(*) else 1 end as event_count
    from deliveries
    group by source, learner_id, course_id, term_id, item_id, event_type, occurred_on, occurred_at, event_id
),

sorted as (
    select
        delivered.*,
        {{ microseconds("delivered.occurred_at") }} as moment,
        case
            when left(delivered.event_type, 6) = 'forum_' or items.activity_kind = 'discussion' then 'forum'
            when items.activity_kind = 'video' then 'video'
            when items.activity_kind in ('quiz', 'practice', 'assignment') then 'problem'
            when items.activity_kind in ('reading', 'navigation') then 'text'
            when delivered.event_type in ('page_viewed', 'page_view') then 'text'
            else 'other'
        end as kind
    from delivered
    left join items
        on
            delivered.source = items.source
            and delivered.course_id = items.course_id
            and delivered.term_id = items.term_id
            and delivered.item_id = items.item_id
),

gaps as (
    select
        *,
        moment - lag(moment) over of_day as gap,
        moment - lag(moment) over (
            partition by source, learner_id, course_id, term_id, occurred_on, kind
            order by moment, item_id, event_type, event_id
        ) as gap_of_kind,
        case when kind <> 'other' then moment - max(case when kind <> 'other' then moment end) over (
            partition by source, learner_id, course_id, term_id, occurred_on
            order by moment, kind, item_id, event_type, event_id
            rows between unbounded preceding and 1 preceding
        ) end as serial_gap
    from sorted
    window of_day as (
        partition by source, learner_id, course_id, term_id, occurred_on
        order by moment, kind, item_id, event_type, event_id
    )
),

day_hashes as (
    select
        source,
        occurred_on,
        {{ timed_day_hash() }} as day_hash
    from {{ ref("int_events_summarized") }}
    where event_times is not null
    group by source, occurred_on
),

days as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        occurred_on,
        sum(event_count) as event_count,
        {%- for kind in timed_kinds() %}
        sum(case when kind = '{{ kind }}' then event_count else 0 end) as {{ kind }}_event_count,
        {%- endfor %}
        {%- for column, types in timed_counts().items() %}
        sum(
            case
                when
                    event_type in (
                        {%- for type in types %}
                        '{{ type }}'{{ "," if not loop.last }}
                        {%- endfor %}
                    )
                    then event_count
                else 0
            end
        ) as {{ column }},
        {%- endfor %}
        {%- for limit in gap_limits() %}
        coalesce(sum(case when gap <= {{ limit * 60000000 }} then gap end), 0) as total_{{ limit }}_microseconds,
        {%- for kind in timed_kinds() %}
        coalesce(
            sum(case when kind = '{{ kind }}' and gap_of_kind <= {{ limit * 60000000 }} then gap_of_kind end), 0
        ) as {{ kind }}_{{ limit }}_microseconds,
        coalesce(
            sum(case when kind = '{{ kind }}' and serial_gap <= {{ limit * 60000000 }} then serial_gap end), 0
        ) as serial_{{ kind }}_{{ limit }}_microseconds,
        {%- endfor %}
        {%- endfor %}
        count(case when gap <= {{ gap_limits()[0] * 60000000 }} then 1 end) as gap_count,
        coalesce(sum(case when gap <= {{ gap_limits()[0] * 60000000 }} then gap end), 0) as gap_microseconds,
        max(case when gap <= {{ gap_limits()[0] * 60000000 }} then gap end) as longest_gap_microseconds,
        count(distinct case when kind = 'video' then item_id end) as video_count,
        count(distinct case when kind = 'problem' then item_id end) as problem_count,
        min(occurred_at) as first_at,
        max(occurred_at) as last_at
    from gaps
    group by source, learner_id, course_id, term_id, occurred_on
)

select
    days.source,
    {{ entity_key(["learner_id", "course_id", "term_id"], "days") }} as course_enrollment_key,
    days.occurred_on as activity_on,
    days.first_at,
    days.last_at,
    {%- for column in timed_measures() %}
    cast(days.{{ column }} as bigint) as {{ column }},
    {%- endfor %}
    cast(days.longest_gap_microseconds as bigint) as longest_gap_microseconds,
    days.video_count,
    days.problem_count,
    day_hashes.day_hash
from days
left join day_hashes
    on
        days.source = day_hashes.source
        and days.occurred_on = day_hashes.occurred_on
