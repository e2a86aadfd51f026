-- How many starters of a term were in coursework a year later. Grain: one row per source × program × first term.
with learners as (
    select
        source,
        program_key,
        first_term_key,
        count(*) as starter_count,
        count(is_retained) as followed_count,
        avg(case when is_retained then 1.0 when not is_retained then 0.0 end) as retained_share
    from {{ ref("mart_learner_program") }}
    group by source, program_key, first_term_key
),

programs as (
    select * from {{ ref("dim_program") }}
    where program_type = 'degree'
),

terms as (
    select * from {{ ref("dim_term") }}
)

select
    learners.source,
    programs.program_name,
    programs.university_name,
    terms.term_id as first_term_name,
    terms.starts_on as first_term_starts_on,
    {{ shown("learners", ["starter_count", "followed_count", "retained_share"], "starter_count") }}
from learners
inner join programs
    on learners.program_key = programs.program_key
inner join terms
    on learners.first_term_key = terms.term_key
