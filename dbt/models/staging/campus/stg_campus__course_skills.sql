-- Which skills a course teaches. Grain: one row per source × course × skill.
with final as (
    {{ deduplicated("raw_campus", "course_skills") }}
)

{{ canonical_select("final", "course_skills") }}
