-- Users who are or were in a course as a student. Grain: one row per source × learner.
with users as (
    select * from (
        {{ deduplicated("raw_canvas", "users") }}
    ) as latest
    where action <> 'D'
),

students as (
    select distinct
        source,
        user_id
    from {{ source("raw_canvas", "enrollments") }}
    where type = 'StudentEnrollment'
),

final as (
    select
        users.source,
        users.id as learner_id,
        users.created_at as registered_at
    from users
    inner join students
        on
            users.source = students.source
            and users.id = students.user_id
)

{{ canonical_select("final", "learners", absent=[
    "birth_year", "age_band", "gender", "country", "region", "education_level", "employment_status",
    "deprivation_band", "has_disability",
]) }}
