-- Courses, also those that only memberships name. Grain: one row per source × course.
with courses as (
    {{ deduplicated("raw_coursera", "courses") }}
),

memberships as (
    select * from {{ source("raw_coursera", "course_memberships") }}
),

named as (
    select
        source,
        course_id,
        course_name,
        case lower(course_level)
            when 'beginner' then 'basic'
            when 'intermediate' then 'intermediate'
            when 'advanced' then 'advanced'
        end as level
    from courses

    union all

    select
        source,
        course_id,
        null as course_name,
        null as level
    from memberships
),

final as (
    select
        source,
        course_id,
        max(course_name) as course_name,
        'module' as course_type,
        'partner' as program_id,
        max(level) as level
    from named
    group by source, course_id
)

{{ canonical_select(
    "final", "courses", absent=["is_required_for_progress", "language", "passing_share"]
) }}
