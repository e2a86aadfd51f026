-- Courses: of degrees, open ones, and skill checks. Grain: one row per source × course.
with final as (
    {{ deduplicated("raw_campus", "courses") }}
)

{{ canonical_select("final", "courses") }}
