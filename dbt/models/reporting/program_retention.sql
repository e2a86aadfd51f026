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

-- All starters of a program may be known, and those of all terms but one would give that one's.
guarded as (
    select
        *,
        {{ is_withheld("starter_count", ["program_key"], "first_term_key") }} as is_withheld,
        {{ is_withheld("followed_count", ["program_key"], "first_term_key") }} as is_share_withheld
    from learners
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
    {{ shown("learners", ["starter_count"], "starter_count", "is_withheld") }},
    case
        when not learners.is_withheld and not learners.is_share_withheld then learners.followed_count
    end as followed_count,
    case
        when not learners.is_withheld and not learners.is_share_withheld then learners.retained_share
    end as retained_share
from guarded as learners
inner join programs
    on learners.program_key = programs.program_key
inner join terms
    on learners.first_term_key = terms.term_key
