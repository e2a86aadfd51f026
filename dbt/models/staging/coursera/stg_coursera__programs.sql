-- One program that stands for the partner, and the degree programs that memberships name. Grain: one row per source ×
-- program.
with users as (
    select * from {{ source("raw_coursera", "users") }}
),

memberships as (
    select * from {{ source("raw_coursera", "users_courses__degree_program_memberships") }}
),

final as (
    select
        source,
        'partner' as program_id,
        'All courses' as program_name,
        'university' as program_type
    from users
    group by source

    union all

    select
        source,
        degree_program_id as program_id,
        coalesce(max(degree_program_name), degree_program_id) as program_name,
        'degree' as program_type
    from memberships
    group by source, degree_program_id
)

{{ canonical_select("final", "programs", absent=[
    "university_name", "level", "terms_per_year", "terms_may_be_missed", "time_zone", "passing_share",
]) }}
