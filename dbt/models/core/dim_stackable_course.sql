-- Open courses by the degree programs with which they share items. Grain: one row per source × open course × program.
with shared as (
    select
        shared_content.*,
        program_courses.program_key
    from {{ ref("dim_shared_content") }} as shared_content
    inner join {{ ref("dim_program_course") }} as program_courses
        on shared_content.course_key = program_courses.course_key
)

-- The degree course with which it shares most, in the versions of both in which it does.
select
    source,
    open_course_key,
    program_key,
    shared_item_count,
    item_count,
    shared_item_share,
    is_stackable
from shared
qualify row_number() over (
    partition by open_course_key, program_key
    order by shared_item_share desc, course_offering_key asc, open_course_version_key asc
) = 1
