-- The time zone in which the days of a course are counted, for all its learners. Grain: one row per source × course.
{{ config(materialized="view") }}

with courses as (
    {{ union_contracts("courses") }}
),

programs as (
    select * from {{ ref("int_programs_zoned") }}
),

sources as (
    select * from {{ ref("int_sources_zoned") }}
)

select
    courses.source,
    courses.course_id,
    {{ entity_key(["course_id"], "courses") }} as course_key,
    coalesce(programs.time_zone, sources.time_zone) as time_zone
from courses
inner join sources
    on courses.source = sources.source
left join programs
    on
        courses.source = programs.source
        and courses.program_id = programs.program_id
