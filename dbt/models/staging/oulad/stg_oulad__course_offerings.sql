-- Module presentations, with their dates. Grain: one row per source × module × presentation.
with courses as (
    {{ deduplicated("raw_oulad", "courses") }}
),

dated as (
    select
        source,
        code_module as course_id,
        code_presentation as term_id,
        code_presentation as version_id,
        module_presentation_length,
        {{ oulad_presentation_start("code_presentation") }} as starts_on
    from courses
),

final as (
    select
        *,
        {{ add_days("starts_on", "module_presentation_length - 1") }} as ends_on
    from dated
)

{{ canonical_select("final", "course_offerings") }}
