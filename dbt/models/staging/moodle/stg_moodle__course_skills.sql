-- Skills that courses teach, as the institution told. Grain: one row per source × course × skill.
with final as (
    {{ deduplicated("raw_moodle", "course_skills") }}
)

{{ canonical_select("final", "course_skills") }}
