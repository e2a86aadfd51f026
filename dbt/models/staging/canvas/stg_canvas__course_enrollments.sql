-- Students in courses; deleted and inactive ones have left. Grain: one row per source × learner × course.
with enrollments as (
    {{ deduplicated("raw_canvas", "enrollments") }}
),

scores as (
    select * from (
        {{ deduplicated("raw_canvas", "scores") }}
    ) as latest
    where action <> 'D'
),

offerings as (
    select * from {{ ref("stg_canvas__course_offerings") }}
),

institutions as (
    select * from {{ ref("stg_canvas__institutions") }}
),

-- Of several enrollments of a learner in a course, in sections of it, the one that is still there counts.
students as (
    select *
    from enrollments
    where
        type = 'StudentEnrollment'
        and workflow_state not in ('invited', 'rejected', 'creation_pending')
    qualify row_number() over (
        partition by source, user_id, course_id
        order by workflow_state in ('deleted', 'inactive'), created_at, id
    ) = 1
),

-- What names a course that is not there is held back in core, and counted, until the course arrives.
final as (
    select
        students.source,
        students.user_id as learner_id,
        students.course_id,
        coalesce(offerings.term_id, 'unknown') as term_id,
        1 as registration_number,
        students.created_at as registered_at,
        case
            when students.workflow_state in ('deleted', 'inactive') then cast(students.updated_at as date)
        end as unregistered_on,
        case
            when
                students.workflow_state = 'completed'
                and scores.final_score >= 100 * institutions.passing_share
                then cast(coalesce(students.completed_at, students.updated_at) as date)
        end as completed_on,
        -- Canvas tells no pass mark: without the institution's nobody knows who passed.
        case
            when students.workflow_state in ('deleted', 'inactive') then 'withdrawn'
            when students.workflow_state = 'completed' and scores.final_score >= 100 * institutions.passing_share
                then 'pass'
            when students.workflow_state = 'completed' and scores.final_score < 100 * institutions.passing_share
                then 'fail'
        end as outcome,
        scores.final_score / 100 as final_grade_share
    from students
    left join offerings
        on
            students.source = offerings.source
            and students.course_id = offerings.course_id
    left join scores
        on
            students.source = scores.source
            and students.id = scores.enrollment_id
            and scores.course_score
            and scores.workflow_state = 'active'
    inner join institutions
        on students.source = institutions.source
)

{{ canonical_select("final", "course_enrollments", absent=[
    "registered_on", "is_paid", "studied_credits", "previous_attempt_count",
]) }}
