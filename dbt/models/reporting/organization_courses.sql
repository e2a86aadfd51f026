-- How an organization's people do with the courses that they began: by course and month, by month, and by year.
-- Grain: one row per source × level × organization × month × course.
{%- set levels = [
    {"name": "course_month", "keys": ["organization_key", "course_key", "month_starts_on"]},
    {"name": "month", "keys": ["organization_key", "month_starts_on"]},
    {"name": "year", "keys": ["organization_key", "year_number"]},
] %}
{%- set measures = [
    {"name": "enrollment", "value": "count(*)", "is_listed": false},
    {
        "name": "active", "words": "active", "within": "enrollment", "of": "count(*)",
        "value": "count(case when has_activity then 1 end)", "rest": "count(case when not has_activity then 1 end)",
    },
    {
        "name": "completed", "words": "completed", "within": "enrollment", "of": "count(*)",
        "value": "count(case when is_completed then 1 end)", "rest": "count(case when not is_completed then 1 end)",
    },
    {
        "name": "graded", "words": "grades", "within": "enrollment", "is_listed": false,
        "value": "count(final_grade_share)",
    },
    {
        "name": "timed", "words": "hours", "within": "enrollment", "is_listed": false,
        "value": "count(learning_hours)",
    },
] %}

with enrollments as (
    select
        memberships.source,
        memberships.organization_key,
        enrollments.learner_key,
        enrollments.course_key,
        cast(date_trunc('month', enrollments.registered_on) as date) as month_starts_on,
        cast(year(enrollments.registered_on) as integer) as year_number,
        learner_courses.has_activity,
        enrollments.completed_on is not null as is_completed,
        enrollments.final_grade_share,
        learner_courses.learning_hours
    from {{ ref("fct_organization_membership") }} as memberships
    -- Begun while they were members.
    inner join {{ ref("fct_course_enrollment") }} as enrollments
        on
            memberships.learner_key = enrollments.learner_key
            and memberships.from_on <= enrollments.registered_on
            and coalesce(memberships.to_on, enrollments.registered_on) >= enrollments.registered_on
    inner join {{ ref("mart_learner_course") }} as learner_courses
        on enrollments.course_enrollment_key = learner_courses.course_enrollment_key
),

{{ protected_groups("enrollments", levels, measures, aggregates={
    "mean_learning_hours": "avg(" ~ exact("learning_hours") ~ ")",
    "mean_final_grade_share": "avg(" ~ exact("final_grade_share") ~ ")",
}) }}

select
    protected.source,
    protected.level,
    protected.organization_key,
    protected.course_key,
    protected.month_starts_on,
    protected.year_number,
    organizations.organization_name,
    courses.course_name,
    {%- for measure in measures[:4] %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {{ shown_with("timed", "cast(mean_learning_hours as double)", "mean_learning_hours") }},
    {{ shown_with("graded", "cast(mean_final_grade_share as double)", "mean_final_grade_share") }},
    {{ withheld_because(measures) }}
from protected
inner join {{ ref("dim_organization") }} as organizations
    on protected.organization_key = organizations.organization_key
left join {{ ref("dim_course") }} as courses
    on protected.course_key = courses.course_key
-- Few organizations have ten people who begin one course in one month: the others stand in the months' rows.
where protected.level != 'course_month' or protected.enrollment_why is null
