-- Support tickets. Grain: one row per source × ticket.
with support_tickets as (
    {{ deduplicated("raw_campus", "support_tickets") }}
),

final as (
    select
        source,
        ticket_id,
        learner_id,
        program_id,
        ticket_type,
        opened_at
    from support_tickets
)

{{ canonical_select("final", "support_tickets") }}
