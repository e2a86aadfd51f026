-- Submissions and what they refer to and do not find. Grain: one row per learner × course × term × item × attempt.
with submissions as (
    {{ union_contracts("submissions") }}
),

enrollments as (
    select * from {{ ref("int_course_enrollments_resolved") }}
    where missing_reference is null
),

items as (
    select * from {{ ref("int_course_items_offered") }}
    where missing_reference is null
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
)

select
    {%- set resolved = ["submitted_on", "due_on", "grade_released_at"] %}
    {%- for column in canonical_columns("submissions") if column not in resolved %}
    submissions.{{ column }},
    {%- endfor %}
    coalesce({{ local_date("submissions.submitted_at", "courses.time_zone") }}, submissions.submitted_on)
        as submitted_on,
    {{ local_date("submissions.grade_released_at", "courses.time_zone") }} as grade_released_on,
    items.version_id,
    items.due_day,
    submissions.due_on as own_due_on,
    case
        when items.item_id is null then 'course_items'
        when enrollments.learner_id is null then 'course_enrollments'
    end as missing_reference
from submissions
left join items
    on
        submissions.source = items.source
        and submissions.course_id = items.course_id
        and submissions.term_id = items.term_id
        and submissions.item_id = items.item_id
left join enrollments
    on
        submissions.source = enrollments.source
        and submissions.learner_id = enrollments.learner_id
        and submissions.course_id = enrollments.course_id
        and submissions.term_id = enrollments.term_id
left join courses
    on
        submissions.source = courses.source
        and submissions.course_id = courses.course_id
