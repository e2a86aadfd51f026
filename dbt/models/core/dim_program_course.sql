-- Courses by the programs that they serve. Grain: one row per source × program × course.
with courses as (
    {{ union_contracts("courses") }}
),

programs as (
    {{ union_contracts("programs") }}
),

served as (
    select
        source,
        program_id,
        course_id,
        true as is_own
    from courses

    union all

    select
        source,
        program_id,
        course_id,
        false as is_own
    from ({{ union_contracts("program_courses") }}) as further
)

select
    served.source,
    {{ entity_key(["program_id"], "served") }} as program_key,
    {{ entity_key(["course_id"], "served") }} as course_key,
    bool_or(served.is_own) as is_own
from served
inner join courses
    on
        served.source = courses.source
        and served.course_id = courses.course_id
inner join programs
    on
        served.source = programs.source
        and served.program_id = programs.program_id
group by
    served.source,
    served.program_id,
    served.course_id
