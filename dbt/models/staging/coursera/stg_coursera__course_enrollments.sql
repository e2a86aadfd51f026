-- Learners in courses, each in the session that they were in last. Grain: one row per source × learner × course.
with memberships as (
    select * from {{ source("raw_coursera", "course_memberships") }}
),

in_sessions as (
    select * from {{ source("raw_coursera", "on_demand_session_memberships") }}
),

sessions as (
    {{ deduplicated("raw_coursera", "on_demand_sessions") }}
),

grades as (
    {{ deduplicated("raw_coursera", "course_grades") }}
),

payments as (
    {{ deduplicated("raw_coursera", "users_courses__certificate_payments") }}
),

progress as (
    select * from {{ source("raw_coursera", "course_progress") }}
),

-- What has not ended when the data end has no outcome yet.
data_ends as (
    select
        source,
        max(course_progress_ts) as ends_at
    from progress
    group by source
),

roles as (
    select
        source,
        user_id,
        course_id,
        min(case when course_membership_role = 'LEARNER' then course_membership_ts end) as enrolled_at,
        max(course_membership_ts) as last_at,
        max_by(course_membership_role, course_membership_ts) as last_role
    from memberships
    group by source, user_id, course_id
),

joined_sessions as (
    select
        source,
        user_id,
        course_id,
        on_demand_session_id as term_id,
        count(*) over (partition by source, user_id, course_id) as session_count
    from in_sessions
    qualify row_number() over (
        partition by source, user_id, course_id
        order by on_demand_sessions_membership_start_ts desc, on_demand_session_id desc
    ) = 1
),

enrolled as (
    select
        roles.source,
        roles.user_id as learner_id,
        roles.course_id,
        coalesce(joined_sessions.term_id, 'open') as term_id,
        1 as registration_number,
        roles.enrolled_at as registered_at,
        case when roles.last_role = 'NOT_ENROLLED' then cast(roles.last_at as date) end as unregistered_on,
        case when grades.course_passing_state_id in (1, 2) then cast(grades.course_grade_ts as date) end
            as completed_on,
        coalesce(payments.was_payment, false) or coalesce(payments.was_finaid_grant, false) as is_paid,
        grades.course_grade_overall as final_grade_share,
        coalesce(sessions.on_demand_sessions_end_ts < data_ends.ends_at, false) as is_over,
        joined_sessions.session_count - 1 as previous_attempt_count
    from roles
    left join joined_sessions
        on
            roles.source = joined_sessions.source
            and roles.user_id = joined_sessions.user_id
            and roles.course_id = joined_sessions.course_id
    left join sessions
        on
            joined_sessions.source = sessions.source
            and joined_sessions.course_id = sessions.course_id
            and joined_sessions.term_id = sessions.on_demand_session_id
    left join grades
        on
            roles.source = grades.source
            and roles.user_id = grades.user_id
            and roles.course_id = grades.course_id
    left join payments
        on
            roles.source = payments.source
            and roles.user_id = payments.user_id
            and roles.course_id = payments.course_id
    left join data_ends on roles.source = data_ends.source
    where roles.enrolled_at is not null
),

final as (
    select
        *,
        case
            when completed_on is not null then 'pass'
            when unregistered_on is not null then 'withdrawn'
            when is_over then 'fail'
        end as outcome
    from enrolled
)

{{ canonical_select("final", "course_enrollments", absent=["registered_on", "studied_credits"]) }}
