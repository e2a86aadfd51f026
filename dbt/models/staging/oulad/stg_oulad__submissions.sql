-- Handed-in assessments. Grain: one row per source × student × assessment (one attempt each).
with submissions as (
    {{ deduplicated("raw_oulad", "studentAssessment") }}
),

assessments as (
    {{ deduplicated("raw_oulad", "assessments") }}
),

-- An unknown assessment leaves course and term empty: core holds the row until the assessment arrives.
joined as (
    select
        submissions.source,
        submissions.id_student as learner_id,
        assessments.code_module as course_id,
        assessments.code_presentation as term_id,
        {{ oulad_assessment_item("submissions.id_assessment") }} as item_id,
        1 as attempt_number,
        submissions.score,
        100 as maximum_score,
        submissions.date_submitted,
        submissions.is_banked = 1 as is_carried_over,
        case assessments.assessment_type
            when 'CMA' then 'automatic'
            when 'TMA' then 'staff'
            when 'Exam' then 'board'
        end as graded_by,
        {{ oulad_presentation_start("assessments.code_presentation") }} as starts_on
    from submissions
    left join assessments
        on
            submissions.source = assessments.source
            and submissions.id_assessment = assessments.id_assessment
),

final as (
    select
        *,
        {{ add_days("starts_on", "date_submitted") }} as submitted_on
    from joined
)

{{ canonical_select("final", "submissions", absent=["due_on", "submitted_at", "grade_released_at"]) }}
