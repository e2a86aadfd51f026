-- Rows that wait in raw for something they refer to. Grain: one row per source × entity × missing reference.
with learners as (
    select * from {{ ref("dim_learner") }}
),

offerings as (
    select * from {{ ref("dim_course_offering") }}
),

items as (
    select
        source,
        'course_items' as entity,
        missing_reference,
        1 as row_count,
        {{ entity_key(["course_id", "version_id", "item_id"]) }} as example_key
    from {{ ref("int_course_items_offered") }}
    where missing_reference is not null
),

program_enrollments as (
    select
        source,
        'program_enrollments' as entity,
        missing_reference,
        1 as row_count,
        program_enrollment_key as example_key
    from {{ ref("int_program_enrollments_resolved") }}
    where missing_reference is not null
),

program_courses as (
    select
        served.source,
        'program_courses' as entity,
        case when courses.course_key is null then 'courses' else 'programs' end as missing_reference,
        1 as row_count,
        {{ entity_key(["program_id", "course_id"], "served") }} as example_key
    from ({{ union_contracts("program_courses") }}) as served
    left join {{ ref("dim_course") }} as courses
        on
            served.source = courses.source
            and served.course_id = courses.course_id
    left join {{ ref("dim_program") }} as programs
        on
            served.source = programs.source
            and served.program_id = programs.program_id
    where
        courses.course_key is null
        or programs.program_key is null
),

known_enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
),

enrollments as (
    select
        source,
        'course_enrollments' as entity,
        missing_reference,
        1 as row_count,
        {{ entity_key(["learner_id", "course_id", "term_id"]) }} as example_key
    from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is not null
),

submissions as (
    select
        source,
        'submissions' as entity,
        missing_reference,
        1 as row_count,
        {{ entity_key(["learner_id", "item_id"]) }} as example_key
    from {{ ref("int_submissions_resolved") }}
    where missing_reference is not null
),

submission_marks as (
    select
        marks.source,
        'submission_marks' as entity,
        'submissions' as missing_reference,
        1 as row_count,
        {{ entity_key(["learner_id", "item_id"], "marks") }} as example_key
    from ({{ union_contracts("submission_marks") }}) as marks
    left join {{ ref("fct_submission_mark") }} as known
        on {{ entity_key(["mark_id"], "marks") }} = known.submission_mark_key
    where known.submission_mark_key is null
),

responses as (
    select
        source,
        'responses' as entity,
        missing_reference,
        1 as row_count,
        {{ entity_key(["learner_id", "question_id"]) }} as example_key
    from {{ ref("int_responses_resolved") }}
    where missing_reference is not null
),

{# Entities that refer to learners and to nothing else that could be unknown. -#}
{%- set of_learners = {
    "organization_members": "organization_id",
    "support_tickets": "ticket_id",
    "interventions": "intervention_id",
    "profiles": "learner_id",
    "credentials": "credential_id",
} %}
of_unknown_learners as (
    {%- for entity, id in of_learners.items() %}
    select
        entity_rows.source,
        '{{ entity }}' as entity,
        'learners' as missing_reference,
        1 as row_count,
        {{ entity_key([id], "entity_rows") }} as example_key
    from ({{ union_contracts(entity) }}) as entity_rows
    left join learners
        on
            entity_rows.source = learners.source
            and entity_rows.learner_id = learners.learner_id
    where learners.learner_id is null
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

-- Of an event without an enrollment, name the part that is unknown by itself, if one is.
events as (
    select
        events.source,
        'events' as entity,
        case
            when learners.learner_key is null then 'learners'
            when offerings.course_offering_key is null then 'course_offerings'
            when enrollments.course_enrollment_key is null then 'course_enrollments'
            else 'course_items'
        end as missing_reference,
        events.event_count as row_count,
        case
            when enrollments.course_enrollment_key is null then events.course_enrollment_key
            else events.course_offering_key || ':' || events.missing_item_id
        end as example_key
    from {{ ref("int_events_summarized") }} as events
    left join known_enrollments as enrollments
        on events.course_enrollment_key = enrollments.course_enrollment_key
    left join learners
        on events.learner_key = learners.learner_key
    left join offerings
        on events.course_offering_key = offerings.course_offering_key
    where
        enrollments.course_enrollment_key is null
        or events.missing_item_id is not null
),

held as (
    select * from items
    union all
    select * from enrollments
    union all
    select * from program_enrollments
    union all
    select * from program_courses
    union all
    select * from submissions
    union all
    select * from submission_marks
    union all
    select * from responses
    union all
    select * from of_unknown_learners
    union all
    select * from events
)

select
    source,
    entity,
    missing_reference,
    cast(sum(row_count) as bigint) as row_count,
    min(example_key) as example_key
from held
group by source, entity, missing_reference
