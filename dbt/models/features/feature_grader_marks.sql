-- Every mark of first hand-ins, by whom it was given. Grain: one row per submission × mark.
with submissions as (
    select * from {{ ref("fct_submission") }}
    where
        is_first
        and not is_carried_over
        and score_share is not null
        and graded_by is not null
),

marks as (
    select * from {{ ref("fct_submission_mark") }}
),

-- The grade is a mark of its kind, unless the marks that it was made of were delivered.
given as (
    select
        submissions.*,
        submissions.submission_key not in (
            select marks.submission_key from marks
            where marks.is_part_of_grade
        ) as is_mark
    from submissions
),

final as (
    select
        source,
        learner_key,
        course_enrollment_key,
        submission_key,
        course_item_key,
        graded_by as submission_graded_by,
        graded_by,
        cast(null as {{ dbt.type_string() }}) as grader_key,
        score_known_on as marked_on,
        score,
        maximum_score,
        score_share
    from given
    where is_mark
    union all
    select
        submissions.source,
        submissions.learner_key,
        submissions.course_enrollment_key,
        submissions.submission_key,
        submissions.course_item_key,
        submissions.graded_by as submission_graded_by,
        marks.graded_by,
        marks.grader_key,
        marks.marked_on,
        marks.score,
        marks.maximum_score,
        marks.score_share
    from marks
    inner join submissions
        on marks.submission_key = submissions.submission_key
)

select * from final
