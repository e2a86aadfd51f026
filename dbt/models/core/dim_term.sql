-- Terms of the programs. Grain: one row per source × program × term.
with terms as (
    {{ union_contracts("terms") }}
)

select
    source,
    {{ entity_key(["program_id", "term_id"]) }} as term_key,
    {{ entity_key(["program_id"]) }} as program_key,
    term_id,
    season,
    starts_on,
    ends_on,
    drop_deadline_on,
    coalesce(drop_deadline_on, {{ add_days("starts_on", var("assumed_drop_days") - 1) }}) as last_drop_on,
    is_required
from terms
