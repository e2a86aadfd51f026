-- What learners did in a course on a day, from the times of single events, and the time between them. Grain: one row
-- per learner × course × term × day, UTC, for sources that tell times.
{{ config(materialized="view") }}

with activity as (
    select * from {{ ref("int_timed_activity") }}
),

enrollments as (
    select * from {{ ref("fct_course_enrollment") }}
)

select
    activity.source,
    activity.course_enrollment_key,
    enrollments.learner_key,
    enrollments.course_key,
    enrollments.course_offering_key,
    activity.activity_on,
    activity.first_at,
    activity.last_at,
    {%- for column in timed_measures() if not column.endswith("microseconds") %}
    activity.{{ column }},
    {%- endfor %}
    {%- for column in ["gap_microseconds"] + timed_gaps() %}
    cast(activity.{{ column }} / 1000000.0 as decimal(18, 6)) as {{ column | replace("microseconds", "seconds") }},
    {%- endfor %}
    cast(activity.longest_gap_microseconds / 1000000.0 as decimal(18, 6)) as longest_gap_seconds,
    activity.day_hash
from activity
inner join enrollments
    on activity.course_enrollment_key = enrollments.course_enrollment_key
