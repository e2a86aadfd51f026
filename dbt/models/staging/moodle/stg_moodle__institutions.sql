-- The institution, as it describes itself. Grain: one row per source.
with final as (
    {{ deduplicated("raw_moodle", "institution") }}
)

{{ canonical_select("final", "institutions") }}
