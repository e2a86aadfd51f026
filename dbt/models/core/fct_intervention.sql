-- Contacts with learners, from the log of those who support them. Grain: one row per source × contact.
with interventions as (
    {{ union_contracts("interventions") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
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
    interventions.contacted_on,
    interventions.known_on
from interventions
inner join learners
    on
        interventions.source = learners.source
        and interventions.learner_id = learners.learner_id
