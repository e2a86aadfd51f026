-- The institution whose data a source delivers. Grain: one row per source.
with final as (
    {{ deduplicated("raw_campus", "institutions") }}
)

{{ canonical_select("final", "institutions") }}
