-- Further programs that a degree course serves. Grain: one row per source × program × course.
with final as (
    {{ deduplicated("raw_campus", "program_courses") }}
)

{{ canonical_select("final", "program_courses") }}
