-- Registrations and their results. Grain: one row per source × student × module × presentation.
with results as (
    {{ deduplicated("raw_oulad", "studentInfo") }}
),

registrations as (
    {{ deduplicated("raw_oulad", "studentRegistration") }}
),

joined as (
    select
        results.source,
        results.id_student as learner_id,
        results.code_module as course_id,
        results.code_presentation as term_id,
        results.studied_credits,
        results.num_of_prev_attempts as previous_attempt_count,
        lower(results.final_result) as outcome,
        registrations.date_registration,
        registrations.date_unregistration,
        {{ oulad_presentation_start("results.code_presentation") }} as starts_on
    from results
    left join registrations
        on
            results.source = registrations.source
            and results.code_module = registrations.code_module
            and results.code_presentation = registrations.code_presentation
            and results.id_student = registrations.id_student
),

final as (
    select
        *,
        1 as registration_number,
        {{ add_days("starts_on", "date_registration") }} as registered_on,
        {{ add_days("starts_on", "date_unregistration") }} as unregistered_on
    from joined
)

{{ canonical_select(
    "final", "course_enrollments", absent=["registered_at", "completed_on", "is_paid", "final_grade_share"]
) }}
