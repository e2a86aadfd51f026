-- Support tickets of learners. Grain: one row per source × ticket.
with support_tickets as (
    {{ union_contracts("support_tickets") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
),

sources as (
    select * from {{ ref("int_sources_zoned") }}
),

programs as (
    select * from {{ ref("int_programs_zoned") }}
)

select
    support_tickets.source,
    {{ entity_key(["ticket_id"], "support_tickets") }} as support_ticket_key,
    {{ entity_key(["learner_id"], "support_tickets") }} as learner_key,
    {{ entity_key(["program_id"], "support_tickets") }} as program_key,
    support_tickets.ticket_type,
    support_tickets.opened_at,
    {{ local_date("support_tickets.opened_at", "coalesce(programs.time_zone, sources.time_zone)") }} as opened_on
from support_tickets
inner join learners
    on
        support_tickets.source = learners.source
        and support_tickets.learner_id = learners.learner_id
left join sources
    on support_tickets.source = sources.source
left join programs
    on
        support_tickets.source = programs.source
        and support_tickets.program_id = programs.program_id
