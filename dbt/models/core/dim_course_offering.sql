-- Courses as taught in a term. Grain: one row per source × course × term.
with offerings as (
    {{ union_contracts("course_offerings") }}
),

courses as (
    {{ union_contracts("courses") }}
)

select
    offerings.source,
    {{ entity_key(["course_id", "term_id"], "offerings") }} as course_offering_key,
    {{ entity_key(["course_id"], "offerings") }} as course_key,
    {{ entity_key(["course_id", "version_id"], "offerings") }} as course_version_key,
    courses.source || ':' || courses.program_id as program_key,
    courses.source || ':' || courses.program_id || ':' || offerings.term_id as term_key,
    offerings.course_id,
    offerings.term_id,
    offerings.starts_on,
    offerings.ends_on,
    {{ days_between("offerings.starts_on", "offerings.ends_on") }} + 1 as length_days
from offerings
left join courses
    on
        offerings.source = courses.source
        and offerings.course_id = courses.course_id
