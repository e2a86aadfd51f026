-- Programs of all sources. Grain: one row per source × program.
with programs as (
    {{ union_contracts("programs") }}
)

select
    source,
    {{ entity_key(["program_id"]) }} as program_key,
    program_id,
    program_name,
    university_name,
    program_type,
    level,
    terms_per_year,
    terms_may_be_missed
from programs
