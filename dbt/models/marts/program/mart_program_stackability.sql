-- How learners move through open courses into degrees and stay. Grain: one row per source × program.
with programs as (
    select * from {{ ref("dim_program") }}
),

stackable_courses as (
    select * from {{ ref("dim_stackable_course") }}
    where is_stackable
),

offered as (
    select
        program_key,
        count(*) as stackable_course_count
    from stackable_courses
    group by program_key
),

---------- learners of the open courses, whether they went on to the degree or not

open_learners as (
    select
        stackable.program_key,
        registrations.learner_key,
        bool_or(registrations.completed_on is not null) as is_completer
    from {{ ref("fct_stackable_registration") }} as stackable
    inner join {{ ref("fct_course_registration") }} as registrations
        on stackable.course_registration_key = registrations.course_registration_key
    group by stackable.program_key, registrations.learner_key
),

open_content as (
    select
        program_key,
        count(*) as open_learner_count,
        count(*) filter (where is_completer) as open_completer_count
    from open_learners
    group by program_key
),

---------- learners of the degree, by what they did before

entrants as (
    select
        program_key,
        count(*) filter (where has_stackable_enrollment) as enrolled_entrant_count,
        count(is_retained) filter (where has_stackable_enrollment) as enrolled_followed_count,
        count(*) filter (where has_stackable_enrollment and is_retained) as enrolled_retained_count,
        count(*) filter (where has_stackable_completion) as completed_entrant_count,
        count(is_retained) filter (where has_stackable_completion) as completed_followed_count,
        count(*) filter (where has_stackable_completion and is_retained) as completed_retained_count,
        count(*) filter (where not has_stackable_enrollment) as other_entrant_count,
        count(is_retained) filter (where not has_stackable_enrollment) as other_followed_count,
        count(*) filter (where not has_stackable_enrollment and is_retained) as other_retained_count
    from {{ ref("mart_learner_program") }}
    group by program_key
)

select
    programs.source,
    programs.program_key,
    offered.stackable_course_count,

    ---------- in open content
    cast(coalesce(open_content.open_learner_count, 0) as integer) as open_learner_count,
    cast(coalesce(open_content.open_completer_count, 0) as integer) as open_completer_count,

    ---------- into the degree
    cast(coalesce(entrants.enrolled_entrant_count, 0) as integer) as enrolled_entrant_count,
    cast(coalesce(entrants.completed_entrant_count, 0) as integer) as completed_entrant_count,
    cast(coalesce(entrants.other_entrant_count, 0) as integer) as other_entrant_count,
    coalesce(entrants.enrolled_entrant_count, 0) / nullif(cast(open_content.open_learner_count as double), 0)
        as open_learner_to_entrant_share,

    ---------- and a year on
    cast(coalesce(entrants.enrolled_followed_count, 0) as integer) as enrolled_followed_count,
    entrants.enrolled_retained_count / nullif(cast(entrants.enrolled_followed_count as double), 0)
        as enrolled_retained_share,
    cast(coalesce(entrants.completed_followed_count, 0) as integer) as completed_followed_count,
    entrants.completed_retained_count / nullif(cast(entrants.completed_followed_count as double), 0)
        as completed_retained_share,
    cast(coalesce(entrants.other_followed_count, 0) as integer) as other_followed_count,
    entrants.other_retained_count / nullif(cast(entrants.other_followed_count as double), 0)
        as other_retained_share
from offered
inner join programs
    on offered.program_key = programs.program_key
left join open_content
    on offered.program_key = open_content.program_key
left join entrants
    on offered.program_key = entrants.program_key
