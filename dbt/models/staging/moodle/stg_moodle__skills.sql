-- Skills that the institution named. Grain: one row per source × skill.
with final as (
    {{ deduplicated("raw_moodle", "skills") }}
)

{{ canonical_select("final", "skills") }}
