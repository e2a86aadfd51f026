-- Marks of hand-ins beside their grades. Grain: one row per source × mark.
with marks as (
    {{ union_contracts("submission_marks") }}
),

submissions as (
    select * from {{ ref("fct_submission") }}
),

courses as (
    select * from {{ ref("int_courses_zoned") }}
),

keyed as (
    select
        marks.*,
        {{ entity_key(["learner_id", "course_id", "term_id", "item_id", "attempt_number"], "marks") }}
            as submission_key
    from marks
)

select
    keyed.source,
    {{ entity_key(["mark_id"], "keyed") }} as submission_mark_key,
    keyed.submission_key,
    submissions.course_enrollment_key,
    submissions.course_offering_key,
    submissions.course_item_key,
    {{ entity_key(["grader_id"], "keyed") }} as grader_key,
    keyed.graded_by,
    keyed.graded_by = submissions.graded_by as is_part_of_grade,
    {{ local_date("keyed.marked_at", "courses.time_zone") }} as marked_on,
    keyed.score,
    keyed.maximum_score,
    keyed.score / keyed.maximum_score as score_share
from keyed
inner join submissions
    on keyed.submission_key = submissions.submission_key
left join courses
    on
        keyed.source = courses.source
        and keyed.course_id = courses.course_id
