-- Students, as they described themselves at their first registration. Grain: one row per source × student.
with described as (
    {{ deduplicated("raw_oulad", "studentInfo") }}
),

enrollments as (
    select * from {{ ref("stg_oulad__course_enrollments") }}
),

-- The first registration and not the last: a later one must not change what was known of the student before.
first_description as (
    select
        described.*,
        {{ oulad_presentation_start("described.code_presentation") }} as starts_on,
        enrollments.registered_on
    from described
    inner join enrollments
        on
            described.source = enrollments.source
            and cast(described.id_student as {{ dbt.type_string() }}) = enrollments.learner_id
            and described.code_module = enrollments.course_id
            and described.code_presentation = enrollments.term_id
    qualify row_number() over (
        partition by described.source, described.id_student
        order by coalesce(enrollments.registered_on, starts_on), described.code_presentation, described.code_module
    ) = 1
),

final as (
    select
        source,
        id_student as learner_id,
        age_band,
        case gender when 'M' then 'male' when 'F' then 'female' end as gender,
        region,
        highest_education as education_level,
        -- One band of the release lacks its percent sign.
        case imd_band when '10-20' then '10-20%' else imd_band end as deprivation_band,
        disability = 'Y' as has_disability
    from first_description
)

{{ canonical_select("final", "learners", absent=["registered_at", "birth_year", "country", "employment_status"]) }}
