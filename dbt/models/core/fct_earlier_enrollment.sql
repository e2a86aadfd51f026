-- Other courses of a learner that started earlier. Grain: one row per enrollment × earlier enrollment of the learner.
with enrollments as (
    select
        fct_course_enrollment.*,
        dim_course_offering.starts_on
    from {{ ref("fct_course_enrollment") }} as fct_course_enrollment
    inner join {{ ref("dim_course_offering") }} as dim_course_offering
        on fct_course_enrollment.course_offering_key = dim_course_offering.course_offering_key
)

select
    later.source,
    later.course_enrollment_key,
    earlier.course_enrollment_key as earlier_course_enrollment_key,
    later.course_offering_key,
    earlier.registered_on,
    earlier.outcome,
    earlier.outcome_known_on
from enrollments as later
inner join enrollments as earlier
    on
        later.learner_key = earlier.learner_key
        and later.starts_on > earlier.starts_on
where earlier.registered_on is not null
