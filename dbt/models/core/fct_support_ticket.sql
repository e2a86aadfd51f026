-- Support tickets of learners. Grain: one row per source × ticket.
with support_tickets as (
    {{ union_contracts("support_tickets") }}
),

learners as (
    select * from {{ ref("dim_learner") }}
)

select
    support_tickets.source,
    {{ entity_key(["ticket_id"], "support_tickets") }} as support_ticket_key,
    {{ entity_key(["learner_id"], "support_tickets") }} as learner_key,
    {{ entity_key(["program_id"], "support_tickets") }} as program_key,
    support_tickets.ticket_type,
    support_tickets.opened_at,
    support_tickets.opened_on
from support_tickets
inner join learners
    on
        support_tickets.source = learners.source
        and support_tickets.learner_id = learners.learner_id
