-- Courses of the degree programs. Grain: one row per source × program × course.
with memberships as (
    select * from {{ source("raw_coursera", "users_courses__degree_program_memberships") }}
),

final as (
    select distinct
        source,
        degree_program_id as program_id,
        course_id
    from memberships
)

{{ canonical_select("final", "program_courses") }}
