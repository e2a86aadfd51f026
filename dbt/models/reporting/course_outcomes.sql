-- How courses in terms ended: each course in its term, the course in a year, the program in a year, and the year.
-- Grain: one row per source × level × group.
{%- set levels = [
    {"name": "course_term", "keys": ["course_offering_key"]},
    {"name": "course_year", "keys": ["course_key", "year_number"]},
    {"name": "program_year", "keys": ["program_key", "year_number"]},
    {"name": "year", "keys": ["year_number"]},
] %}
{%- set measures = [
    {"name": "enrollment", "value": "count(*)"},
    {
        "name": "outcome", "words": "outcomes", "within": "enrollment",
        "value": "count(case when is_outcome_final then 1 end)",
    },
    {
        "name": "passed", "words": "passed", "within": "outcome", "of": "count(case when is_outcome_final then 1 end)",
        "value": "count(case when is_outcome_final and is_passed then 1 end)",
        "rest": "count(case when is_outcome_final and not is_passed then 1 end)",
    },
    {
        "name": "withdrawn", "words": "withdrawn", "within": "passed", "is_bounded": false,
        "of": "count(case when is_outcome_final then 1 end)",
        "value": "count(case when is_outcome_final and is_withdrawn then 1 end)",
        "rest": "count(case when is_outcome_final and not is_passed and not is_withdrawn then 1 end)",
    },
    {
        "name": "active", "words": "active", "within": "enrollment", "of": "count(has_activity)",
        "value": "count(case when has_activity then 1 end)", "rest": "count(case when not has_activity then 1 end)",
    },
    {
        "name": "first_item_on_time", "words": "first item on time", "within": "enrollment",
        "of": "count(is_first_item_on_time)", "value": "count(case when is_first_item_on_time then 1 end)",
        "rest": "count(case when not is_first_item_on_time then 1 end)",
    },
] %}

with enrollments as (
    select
        learner_courses.source,
        learner_courses.learner_key,
        learner_courses.course_offering_key,
        learner_courses.course_key,
        learner_courses.program_key,
        cast(year(offerings.starts_on) as integer) as year_number,
        learner_courses.is_outcome_final,
        learner_courses.is_passed,
        learner_courses.is_withdrawn,
        learner_courses.has_activity,
        learner_courses.is_first_item_on_time
    from {{ ref("mart_learner_course") }} as learner_courses
    inner join {{ ref("dim_course_offering") }} as offerings
        on learner_courses.course_offering_key = offerings.course_offering_key
    -- Courses without terms are taken at any time and do not end: see open_course_funnel.
    where learner_courses.term_key is not null
),

{{ protected_groups("enrollments", levels, measures) }}

select
    protected.source,
    protected.level,
    protected.course_offering_key,
    protected.course_key,
    protected.program_key,
    course_terms.term_key,
    protected.year_number,
    courses.course_name,
    programs.program_name,
    terms.term_id as term_name,
    terms.season,
    course_terms.starts_on,
    course_terms.ends_on,
    course_terms.graded_item_count,
    {%- for measure in measures %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ shown_with("enrollment", "median_click_count") }},
    {{ shown_with("enrollment", "median_active_days") }},
    {{ shown_with("enrollment", "median_weighted_score_share") }},
    {{ withheld_because(measures) }}
from protected
left join {{ ref("mart_course_term") }} as course_terms
    on protected.course_offering_key = course_terms.course_offering_key
left join {{ ref("dim_course") }} as courses
    on protected.course_key = courses.course_key
left join {{ ref("dim_program") }} as programs
    on protected.program_key = programs.program_key
left join {{ ref("dim_term") }} as terms
    on course_terms.term_key = terms.term_key
