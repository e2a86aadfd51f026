-- Terms of the programs. Grain: one row per source × program × term.
with final as (
    {{ deduplicated("raw_campus", "terms") }}
)

{{ canonical_select("final", "terms") }}
