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
    is_required
from terms
