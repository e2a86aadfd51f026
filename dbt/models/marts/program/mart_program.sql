-- Programs over all their terms. Grain: one row per source × program.
with programs as (
    select * from {{ ref("dim_program") }}
),

courses as (
    select
        program_key,
        count(*) as course_count
    from {{ ref("dim_program_course") }}
    group by program_key
),

terms as (
    select
        program_key,
        count(*) as term_count,
        {{ share_of("is_required") }} as required_term_share,
        min(starts_on) as first_starts_on,
        max(ends_on) as last_ends_on
    from {{ ref("dim_term") }}
    group by program_key
),

learners as (
    select
        program_key,
        count(*) as learner_count,
        avg(courses_enrolled_count) as mean_first_term_course_count,
        -- The same in all rows of a program.
        {%- for column in ["program_load_q25", "program_load_median", "program_load_q75", "program_load_iqr"] %}
        max({{ column }}) as {{ column }},
        {%- endfor %}
        count(is_reregistered_next_year) as followed_learner_count,
        {{ share_of("is_reregistered_next_year") }} as reregistered_next_year_share,
        count(is_retained) as retention_followed_learner_count,
        {{ share_of("is_retained") }} as retained_share,
        {{ share_of("is_retained_without_graduates") }} as retained_without_graduates_share,
        case when count(is_graduated) > 0 then count(*) filter (where is_graduated) end as graduated_count
    from {{ ref("mart_learner_program") }}
    group by program_key
),

enrollments as (
    select
        program_courses.program_key,
        count(*) as enrollment_count,
        {{ outcome_figures() }}
    from {{ ref("mart_learner_course") }} as learner_courses
    inner join {{ ref("dim_program_course") }} as program_courses
        on learner_courses.course_key = program_courses.course_key
    group by program_courses.program_key
)

select
    programs.source,
    programs.program_key,
    programs.program_name,
    programs.university_name,
    programs.program_type,
    programs.level,
    programs.terms_per_year,
    programs.terms_may_be_missed,
    terms.required_term_share,
    {%- for column in ["program_load_q25", "program_load_median", "program_load_q75", "program_load_iqr"] %}
    learners.{{ column }},
    {%- endfor %}
    cast(coalesce(courses.course_count, 0) as integer) as course_count,
    cast(coalesce(terms.term_count, 0) as integer) as term_count,
    terms.first_starts_on,
    terms.last_ends_on,
    cast(coalesce(learners.learner_count, 0) as integer) as learner_count,
    cast(coalesce(enrollments.enrollment_count, 0) as integer) as enrollment_count,
    learners.mean_first_term_course_count,
    cast(coalesce(enrollments.final_outcome_count, 0) as integer) as final_outcome_count,
    cast(coalesce(enrollments.running_count, 0) as integer) as running_count,
    enrollments.passed_share,
    enrollments.withdrawn_share,
    cast(coalesce(learners.followed_learner_count, 0) as integer) as followed_learner_count,
    learners.reregistered_next_year_share,
    cast(coalesce(learners.retention_followed_learner_count, 0) as integer) as retention_followed_learner_count,
    learners.retained_share,
    learners.retained_without_graduates_share,
    cast(learners.graduated_count as integer) as graduated_count
from programs
left join courses
    on programs.program_key = courses.program_key
left join terms
    on programs.program_key = terms.program_key
left join learners
    on programs.program_key = learners.program_key
left join enrollments
    on programs.program_key = enrollments.program_key
