-- Hand-ins: Canvas keeps the last attempt. Grain: one row per source × learner × assignment.
with submissions as (
    select * from (
        {{ deduplicated("raw_canvas", "submissions") }}
    ) as latest
    where action <> 'D'
),

assignments as (
    select * from (
        {{ deduplicated("raw_canvas", "assignments") }}
    ) as latest
    where action <> 'D'
),

offerings as (
    select * from {{ ref("stg_canvas__course_offerings") }}
),

-- What names a course that is not there is held back in core, and counted, until the course arrives.
final as (
    select
        submissions.source,
        submissions.user_id as learner_id,
        assignments.context_id as course_id,
        coalesce(offerings.term_id, 'unknown') as term_id,
        submissions.assignment_id as item_id,
        coalesce(submissions.attempt, 1) as attempt_number,
        submissions.submitted_at,
        submissions.score,
        assignments.points_possible as maximum_score,
        coalesce(submissions.posted_at, submissions.graded_at) as grade_released_at,
        case when submissions.grader_id < 0 then 'automatic' else 'staff' end as graded_by,
        false as is_carried_over
    from submissions
    left join assignments
        on
            submissions.source = assignments.source
            and submissions.assignment_id = assignments.id
    left join offerings
        on
            assignments.source = offerings.source
            and assignments.context_id = offerings.course_id
    where
        submissions.submitted_at is not null
        and not coalesce(submissions.excused, false)
        and submissions.workflow_state not in ('deleted', 'unsubmitted')
)

{{ canonical_select("final", "submissions", absent=["due_on", "submitted_on"]) }}
