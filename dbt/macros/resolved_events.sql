{#
    Daily event counts with the enrollment they belong to, as core takes them: the view int_events_resolved shows all of
    them, fct_daily_activity computes those of a few dates. `dates` is a predicate on source and occurred_on; it stands at
    the very start, since the engine does not carry it there from the end.
#}
{% macro resolved_events(dates="true") %}
with events as (
    select * from {{ ref("int_events_summarized") }}
    where {{ dates }}
),

enrollments as (
    select * from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

-- A source without any item of a kind cannot count its clicks: null, not 0.
kinds as (
    {{ kinds_of_sources(ref("int_course_items_offered")) }}
),

-- Days of which nothing was known in time. Looked for among late rows only: they are few.
late_days as (
    select distinct
        course_enrollment_key,
        occurred_on
    from events
    where
        known_on > occurred_on
        and missing_item_id is null
),

first_known as (
    select
        events.course_enrollment_key,
        events.occurred_on
        {%- for flag, condition in first_known_flags().items() %},
        min(case when {{ condition }} then events.known_on end) as {{ flag }}_on
        {%- endfor %}
    from events
    inner join late_days
        on
            events.course_enrollment_key = late_days.course_enrollment_key
            and events.occurred_on = late_days.occurred_on
    where events.missing_item_id is null
    group by events.course_enrollment_key, events.occurred_on
),

marked as (
    select
        *
        {%- for flag, condition in first_known_flags().items() %},
        {{ condition }} as {{ flag }}
        {%- endfor %}
    from events
    where known_on = occurred_on

    union all

    select
        events.*
        {%- for flag, condition in first_known_flags().items() %},
        case when {{ condition }} then coalesce(events.known_on = first_known.{{ flag }}_on, false) else {{ condition }} end
            as {{ flag }}
        {%- endfor %}
    from events
    left join first_known
        on
            events.course_enrollment_key = first_known.course_enrollment_key
            and events.occurred_on = first_known.occurred_on
    where events.known_on > events.occurred_on
)

select
    events.source,
    events.course_enrollment_key,
    events.learner_key,
    events.course_offering_key,
    events.occurred_on as activity_on,
    events.known_on,
    {%- for flag in first_known_flags() %}
    events.{{ flag }},
    {%- endfor %}
    events.event_count,
    events.click_count,
    {%- for kind in activity_kinds() %}
    case when kinds.has_{{ kind }} then events.{{ kind }}_click_count end as {{ kind }}_click_count,
    {%- endfor %}
    {%- for column in counted_event_types() %}
    events.{{ column }},
    {%- endfor %}
    events.learning_seconds,
    enrollments.course_enrollment_key is null or events.missing_item_id is not null as is_held
from marked as events
left join kinds
    on events.source = kinds.source
left join enrollments
    on events.course_enrollment_key = enrollments.course_enrollment_key
{%- endmacro %}
