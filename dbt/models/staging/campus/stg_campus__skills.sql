-- Skills. Grain: one row per source × skill.
with final as (
    {{ deduplicated("raw_campus", "skills") }}
)

{{ canonical_select("final", "skills") }}
