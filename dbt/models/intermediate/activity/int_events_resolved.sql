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
    select
        source
        {%- for kind in activity_kinds() %},
        bool_or(activity_kind = '{{ kind }}') as has_{{ kind }}
        {%- endfor %}
    from {{ ref("int_course_items_offered") }}
    where not is_graded
    group by source
)

select
    events.source,
    {{ entity_key(["learner_id", "course_id", "term_id"], "events") }} as course_enrollment_key,
    {{ entity_key(["learner_id"], "events") }} as learner_key,
    {{ entity_key(["course_id", "term_id"], "events") }} as course_offering_key,
    events.occurred_on as activity_on,
    events.known_on,
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
left join enrollments
    on
        events.source = enrollments.source
        and events.learner_id = enrollments.learner_id
        and events.course_id = enrollments.course_id
        and events.term_id = enrollments.term_id
