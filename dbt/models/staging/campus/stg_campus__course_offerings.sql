-- Courses by term; open ones have the term `open`. Grain: one row per source × course × term.
with final as (
    {{ deduplicated("raw_campus", "course_offerings") }}
)

{{ canonical_select("final", "course_offerings") }}
