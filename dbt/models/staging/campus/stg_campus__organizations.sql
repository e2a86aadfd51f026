-- Employers that sponsor learning. Grain: one row per source × organization.
with final as (
    {{ deduplicated("raw_campus", "organizations") }}
)

{{ canonical_select("final", "organizations") }}
