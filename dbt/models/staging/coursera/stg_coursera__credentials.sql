-- Certificates of courses: passed and paid for. Grain: one row per source × learner × course.
with enrollments as (
    select * from {{ ref("stg_coursera__course_enrollments") }}
),

final as (
    select
        source,
        learner_id || ' ' || course_id as credential_id,
        learner_id,
        'course_certificate' as kind,
        course_id,
        completed_on as issued_on
    from enrollments
    where
        completed_on is not null
        and is_paid
)

{{ canonical_select("final", "credentials", absent=["program_id"]) }}
