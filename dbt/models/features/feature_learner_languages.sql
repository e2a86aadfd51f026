-- The language of most courses that a learner took. Grain: one row per learner with a course whose language is known.

with enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

languages as (
    select
        enrollments.learner_key,
        courses.language,
        count(*) as enrollment_count
    from enrollments
    inner join courses on enrollments.course_key = courses.course_key
    where courses.language is not null
    group by enrollments.learner_key, courses.language
),

final as (
    select
        learner_key,
        language
    from languages
    -- Of languages with as many courses the first in the alphabet, so that one delivery has one answer.
    qualify row_number() over (partition by learner_key order by enrollment_count desc, language asc) = 1
)

select * from final
