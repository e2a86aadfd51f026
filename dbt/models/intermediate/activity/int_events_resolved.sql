-- Daily event counts with the enrollment they belong to, as core takes them. Grain: one row per row of int_events_summarized.
{{ config(materialized="view") }}

with events as (
    select * from {{ ref("int_events_summarized") }}
),

enrollments as (
    select * from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

-- A source without any item of a kind cannot count its clicks: null, not 0.
kinds as (
    {{ kinds_of_sources(ref("int_course_items_offered")) }}
),

-- Days of which nothing was known in time. Looked up among late rows only: they are few.
late_days as (
    select
        late.source,
        late.learner_id,
        late.course_id,
        late.term_id,
        late.occurred_on,
        min(late.known_on) as first_known_on
    from events as late
    where
        late.known_on > late.occurred_on
        and late.missing_item_id is null
        and not exists (
            select 1
            from events as on_time
            where
                late.source = on_time.source
                and late.learner_id = on_time.learner_id
                and late.course_id = on_time.course_id
                and late.term_id = on_time.term_id
                and late.occurred_on = on_time.occurred_on
                and on_time.known_on = on_time.occurred_on
                and on_time.missing_item_id is null
        )
    group by late.source, late.learner_id, late.course_id, late.term_id, late.occurred_on
)

select
    events.source,
    {{ entity_key(["learner_id", "course_id", "term_id"], "events") }} as course_enrollment_key,
    {{ entity_key(["learner_id"], "events") }} as learner_key,
    {{ entity_key(["course_id", "term_id"], "events") }} as course_offering_key,
    events.occurred_on as activity_on,
    events.known_on,
    events.known_on = coalesce(late_days.first_known_on, events.occurred_on) as is_first_known,
    events.event_count,
    events.click_count
    {%- for kind in activity_kinds() %},
    case when kinds.has_{{ kind }} then events.{{ kind }}_click_count end as {{ kind }}_click_count
    {%- endfor %},
    events.learner_id,
    events.course_id,
    events.term_id,
    events.missing_item_id,
    case
        when enrollments.learner_id is null then 'course_enrollments'
        when events.missing_item_id is not null then 'course_items'
    end as missing_reference
from events
left join kinds
    on events.source = kinds.source
left join late_days
    on
        events.source = late_days.source
        and events.learner_id = late_days.learner_id
        and events.course_id = late_days.course_id
        and events.term_id = late_days.term_id
        and events.occurred_on = late_days.occurred_on
left join enrollments
    on
        events.source = enrollments.source
        and events.learner_id = enrollments.learner_id
        and events.course_id = enrollments.course_id
        and events.term_id = enrollments.term_id
