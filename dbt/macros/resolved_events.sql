{# Columns of int_events_summarized that name a row of core, as far as int_sessions_summarized has them too. #}
{% macro keys_of_activity() %}
    {% do return([
        "source", "course_enrollment_key", "learner_key", "course_offering_key", "activity_on", "known_on",
        "missing_item_id",
    ]) %}
{% endmacro %}


{# Its columns that core adds up. #}
{% macro counts_of_activity() %}
    {% do return(
        ["event_count", "click_count"] + activity_click_columns() + counted_event_types().keys() | list
    ) %}
{% endmacro %}


{# From what the rows of a day of fct_daily_activity follow. #}
{% macro daily_activity_inputs() %}
with enrollments as (
    select course_enrollment_key from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

kinds as (
    {{ kinds_of_sources(ref("int_course_items_offered")) }}
),

inputs as (
    {%- for table, columns in {
        "int_events_summarized": counts_of_activity(), "int_sessions_summarized": ["learning_seconds"],
    }.items() %}
    {%- set hashed = [] %}
    {%- for column in keys_of_activity() + columns %}{% do hashed.append("days." ~ column) %}{% endfor %}
    {%- for flag in kind_flags() %}{% do hashed.append("kinds." ~ flag) %}{% endfor %}
    select
        days.source,
        days.activity_on,
        {{ row_hash(hashed + ["enrollments.course_enrollment_key"]) }} as inputs_hash
    from {{ ref(table) }} as days
    left join kinds
        on days.source = kinds.source
    left join enrollments
        on days.course_enrollment_key = enrollments.course_enrollment_key
    {{ "where days.event_count > 0" if table == "int_events_summarized" }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
)

select
    source,
    activity_on,
    sum(inputs_hash) as inputs_hash
from inputs
group by source, activity_on
{% endmacro %}


{#
    Events and learning time by day with the enrollment they belong to, as core takes them: the view int_events_resolved
    shows all of them, fct_daily_activity computes those of a few dates. `dates` is a predicate on source and activity_on;
    it stands at the very start, since the engine does not carry it there from the end.
#}
{% macro resolved_events(dates="true") %}
{%- set keys = keys_of_activity() %}
{%- set counts = counts_of_activity() %}
with parts as (
    select
        {%- for column in keys + counts %}
        {{ column }},
        {%- endfor %}
        cast(null as decimal(18, 6)) as learning_seconds
    from {{ ref("int_events_summarized") }}
    where
        event_count > 0
        and {{ dates }}

    union all

    -- A day may have learning time and no event: a session went on after midnight, or goes on to an event known later.
    select
        {%- for column in keys %}
        {{ column }},
        {%- endfor %}
        {%- for column in counts %}
        cast({{ "null" if column in counted_event_types() else 0 }} as bigint) as {{ column }},
        {%- endfor %}
        learning_seconds
    from {{ ref("int_sessions_summarized") }}
    where {{ dates }}
),

events as (
    select
        {%- for column in keys %}
        {{ column }},
        {%- endfor %}
        {%- for column in counts %}
        cast(sum({{ column }}) as bigint) as {{ column }},
        {%- endfor %}
        cast(sum(learning_seconds) as decimal(18, 6)) as learning_seconds
    from parts
    group by {{ keys | join(", ") }}
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
        activity_on
    from events
    where
        known_on > activity_on
        and missing_item_id is null
),

first_known as (
    select
        events.course_enrollment_key,
        events.activity_on
        {%- for flag, condition in first_known_flags().items() %},
        min(case when {{ condition }} then events.known_on end) as {{ flag }}_on
        {%- endfor %}
    from events
    inner join late_days
        on
            events.course_enrollment_key = late_days.course_enrollment_key
            and events.activity_on = late_days.activity_on
    where events.missing_item_id is null
    group by events.course_enrollment_key, events.activity_on
),

marked as (
    select
        *
        {%- for flag, condition in first_known_flags().items() %},
        {{ condition }} as {{ flag }}
        {%- endfor %}
    from events
    where known_on = activity_on

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
            and events.activity_on = first_known.activity_on
    where events.known_on > events.activity_on
)

select
    events.source,
    events.course_enrollment_key,
    events.learner_key,
    events.course_offering_key,
    events.activity_on,
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
