-- How courses ended, term by term, with names. Grain: one row per source × course × term.
with course_terms as (
    select
        *,
        distinction_count + pass_count + fail_count + withdrawn_count as followed_count
    from {{ ref("mart_course_term") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

terms as (
    select * from {{ ref("dim_term") }}
),

programs as (
    select * from {{ ref("dim_program") }}
)

select
    course_terms.source,
    course_terms.course_offering_key,
    courses.course_name,
    terms.term_id as term_name,
    terms.season,
    programs.program_name,
    course_terms.starts_on,
    course_terms.ends_on,
    course_terms.graded_item_count,
    {{ shown("course_terms", [
        "learner_count", "active_learner_count",
        "median_click_count", "median_active_days", "median_weighted_score_share", "first_item_on_time_share",
    ], "learner_count") }},
    {{ shown("course_terms", [
        "distinction_count", "pass_count", "fail_count", "withdrawn_count", "passed_share", "withdrawn_share",
    ], "followed_count") }}
from course_terms
inner join courses
    on course_terms.course_key = courses.course_key
left join terms
    on course_terms.term_key = terms.term_key
left join programs
    on course_terms.program_key = programs.program_key
