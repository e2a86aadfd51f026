-- Enrolments of learners and how they ended. Grain: one row per source × learner × course × term × registration.
with registrations as (
    select
        *,
        row_number() over (
            partition by source, learner_id, moodle_course_id
            order by registration_number desc
        ) = 1 as is_last
    from {{ ref("int_moodle__registrations") }}
    where is_learner
),

courses as (
    select * from {{ ref("int_moodle__courses") }}
),

results as (
    select * from {{ ref("int_moodle__course_results") }}
),

dated as (
    select
        registrations.*,
        courses.course_id,
        courses.term_id,
        courses.ends_on,
        {{ local_date("registrations.left_at", "courses.time_zone") }} as left_on,
        results.completed_on,
        results.outcome as result,
        results.final_grade_share as result_share
    from registrations
    inner join courses
        on
            registrations.source = courses.source
            and registrations.moodle_course_id = courses.moodle_course_id
    left join results
        on
            registrations.source = results.source
            and registrations.learner_id = results.learner_id
            and registrations.moodle_course_id = results.moodle_course_id
            and registrations.is_last
),

-- Sites clear their courses of learners when they are over: who leaves after the last day has not withdrawn.
known as (
    select
        *,
        left_on is not null and not coalesce(left_on > ends_on and is_last, false) as is_withdrawn
    from dated
),

final as (
    select
        source,
        learner_id,
        course_id,
        term_id,
        registration_number,
        registered_at,
        case when is_withdrawn then left_on end as unregistered_on,
        completed_on,
        is_paid,
        case when is_withdrawn and completed_on is null then 'withdrawn' else result end as outcome,
        case when not is_withdrawn or completed_on is not null then result_share end as final_grade_share
    from known
)

{{ canonical_select(
    "final", "course_enrollments", absent=["registered_on", "studied_credits", "previous_attempt_count"]
) }}
