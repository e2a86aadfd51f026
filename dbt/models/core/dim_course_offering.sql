-- Courses as taught in a term. Grain: one row per source × course × term.
with offerings as (
    {{ union_contracts("course_offerings") }}
),

courses as (
    {{ union_contracts("courses") }}
),

terms as (
    {{ union_contracts("terms") }}
),

-- An offering ends with its term where its own last day is not told; in no term it goes on without an end.
dated as (
    select
        offerings.*,
        courses.program_id,
        coalesce(offerings.ends_on, terms.ends_on) as last_on
    from offerings
    left join courses
        on
            offerings.source = courses.source
            and offerings.course_id = courses.course_id
    left join terms
        on
            courses.source = terms.source
            and courses.program_id = terms.program_id
            and offerings.term_id = terms.term_id
)

select
    source,
    {{ entity_key(["course_id", "term_id"]) }} as course_offering_key,
    {{ entity_key(["course_id"]) }} as course_key,
    {{ entity_key(["course_id", "version_id"]) }} as course_version_key,
    {{ entity_key(["program_id"]) }} as program_key,
    {{ entity_key(["program_id", "term_id"]) }} as term_key,
    course_id,
    term_id,
    starts_on,
    last_on as ends_on,
    {{ days_between("starts_on", "last_on") }} + 1 as length_days
from dated
