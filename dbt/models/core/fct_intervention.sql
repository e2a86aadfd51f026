-- Contacts with learners, from the log of those who support them. Grain: one row per source × contact.
with interventions as (
    {{ union_contracts("interventions") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

sources as (
    select * from {{ ref("int_sources_zoned") }}
),

programs as (
    select * from {{ ref("int_programs_zoned") }}
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
),

-- About no program, the day is that of the course's; about neither, the source's.
zoned as (
    select
        interventions.*,
        coalesce(programs.time_zone, courses.time_zone, sources.time_zone) as time_zone
    from interventions
    left join sources
        on interventions.source = sources.source
    left join programs
        on
            interventions.source = programs.source
            and interventions.program_id = programs.program_id
    left join courses
        on
            interventions.source = courses.source
            and interventions.course_id = courses.course_id
)

select
    interventions.source,
    {{ entity_key(["intervention_id"], "interventions") }} as intervention_key,
    {{ entity_key(["learner_id"], "interventions") }} as learner_key,
    {{ entity_key(["program_id"], "interventions") }} as program_key,
    {{ entity_key(["course_id"], "interventions") }} as course_key,
    interventions.channel,
    interventions.topic,
    interventions.contacted_by,
    interventions.contacted_at,
    {{ local_date("interventions.contacted_at", "interventions.time_zone") }} as contacted_on,
    {{ local_date(
        "greatest(interventions.contacted_at, coalesce(interventions.recorded_at, interventions.contacted_at))",
        "interventions.time_zone"
    ) }} as known_on
from zoned as interventions
inner join learners
    on
        interventions.source = learners.source
        and interventions.learner_id = learners.learner_id
