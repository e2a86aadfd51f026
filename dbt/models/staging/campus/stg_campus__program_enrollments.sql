-- Learners in programs. Grain: one row per source × learner × program.
with final as (
    {{ deduplicated("raw_campus", "program_enrollments") }}
)

{{ canonical_select("final", "program_enrollments") }}
