-- Course offerings by the programs that they serve. Grain: one row per source × program × course × term.
with offerings as (
    select
        program_courses.program_key,
        dim_course_offering.source,
        dim_course_offering.course_key,
        dim_course_offering.course_offering_key,
        dim_term.term_key,
        least(dim_term.starts_on, dim_course_offering.starts_on) as starts_on
    from {{ ref("dim_course_offering") }} as dim_course_offering
    inner join {{ ref("dim_program_course") }} as program_courses
        on dim_course_offering.course_key = program_courses.course_key
    left join {{ ref("dim_term") }} as dim_term
        on
            program_courses.program_key = dim_term.program_key
            and dim_course_offering.term_id = dim_term.term_id
),

terms as (
    select * from {{ ref("dim_term") }}
),

-- Terms of the program that began before the offering's own.
past as (
    select
        offerings.program_key,
        offerings.course_offering_key,
        count(*) as past_term_count,
        count(earlier.course_offering_key) as offered_term_count
    from offerings
    inner join terms
        on
            offerings.program_key = terms.program_key
            and offerings.starts_on > terms.starts_on
    left join offerings as earlier
        on
            offerings.program_key = earlier.program_key
            and offerings.course_key = earlier.course_key
            and terms.term_key = earlier.term_key
    group by
        offerings.program_key,
        offerings.course_offering_key
)

select
    offerings.source,
    offerings.program_key,
    offerings.course_offering_key,
    offerings.course_key,
    offerings.term_key,
    past.offered_term_count / cast(past.past_term_count as double) as offered_terms_share
from offerings
left join past
    on
        offerings.program_key = past.program_key
        and offerings.course_offering_key = past.course_offering_key
