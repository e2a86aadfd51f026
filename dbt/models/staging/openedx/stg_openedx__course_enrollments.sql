-- Enrollments in runs of courses, and how they ended. Grain: one row per source × learner × course × run ×
-- registration.
with changes as (
    select * from {{ ref("int_openedx__enrollment_changes") }}
),

seen as (
    select * from {{ ref("int_openedx__course_learners") }}
),

results as (
    select * from {{ ref("int_openedx__course_results") }}
),

runs as (
    select * from {{ ref("int_openedx__course_runs") }}
),

data_ends as (
    select
        source,
        max(last_at) as last_at
    from seen
    group by source
),

registrations as (
    select
        source,
        learner_id,
        course_key,
        registration_number,
        min(case when kind = 'registered' then occurred_at end) as registered_at,
        min(occurred_at) as first_change_at,
        max(case when kind = 'unregistered' then occurred_at end) as unregistered_at,
        bool_or({{ openedx_is_paid("enrollment_mode") }}) as is_paid
    from changes
    group by source, learner_id, course_key, registration_number
),

extracted as (
    select
        enrollments.source,
        identities.learner_id,
        enrollments.course_id as course_key,
        min(enrollments.created) as created_at,
        bool_or(enrollments.is_active = 1) as is_active,
        bool_or({{ openedx_is_paid("enrollments.mode") }}) as is_paid
    from {{ source("raw_openedx", "student_courseenrollment") }} as enrollments
    inner join {{ ref("int_openedx__learner_ids") }} as identities
        on
            enrollments.source = identities.source
            and identities.identity_kind = 'user_id'
            and enrollments.user_id = identities.identity_value
    group by enrollments.source, identities.learner_id, enrollments.course_id
),

learners_of_courses as (
    select
        source,
        learner_id,
        course_key
    from seen
    union
    select
        source,
        learner_id,
        course_key
    from extracted
    union
    select
        source,
        learner_id,
        course_key
    from results
),

-- Roles in a course, or in all of an organization: what such people do in it is held, for want of an enrollment.
staff as (
    select distinct
        roles.source,
        identities.learner_id,
        runs.course_key
    from {{ source("raw_openedx", "student_courseaccessrole") }} as roles
    inner join {{ ref("int_openedx__learner_ids") }} as identities
        on
            roles.source = identities.source
            and identities.identity_kind = 'user_id'
            and roles.user_id = identities.identity_value
    inner join runs
        on
            roles.source = runs.source
            and (
                roles.course_id = runs.course_key
                or (roles.course_id is null and runs.course_id like roles.org || '+%')
            )
),

-- Who acts in a course is enrolled in it, though the enrollment was not delivered: it is older than the log.
joined as (
    select
        pairs.source,
        pairs.learner_id,
        pairs.course_key,
        coalesce(registrations.registration_number, 1) as registration_number,
        case
            when coalesce(registrations.registration_number, 1) = 1
                then least(coalesce(registrations.registered_at, seen.first_at), extracted.created_at)
            else registrations.registered_at
        end as registered_at,
        registrations.unregistered_at,
        coalesce(registrations.is_paid, extracted.is_paid) as is_paid,
        results.grade_share,
        results.is_passing,
        results.first_passed_at,
        runs.course_id,
        runs.term_id,
        runs.ends_on < cast(data_ends.last_at as date) as is_over,
        row_number() over (
            partition by pairs.source, pairs.learner_id, pairs.course_key
            order by registrations.registration_number desc nulls last
        ) = 1 as is_last
    from learners_of_courses as pairs
    inner join runs
        on
            pairs.source = runs.source
            and pairs.course_key = runs.course_key
    left join registrations
        on
            pairs.source = registrations.source
            and pairs.learner_id = registrations.learner_id
            and pairs.course_key = registrations.course_key
    left join extracted
        on
            pairs.source = extracted.source
            and pairs.learner_id = extracted.learner_id
            and pairs.course_key = extracted.course_key
    left join seen
        on
            pairs.source = seen.source
            and pairs.learner_id = seen.learner_id
            and pairs.course_key = seen.course_key
    left join results
        on
            pairs.source = results.source
            and pairs.learner_id = results.learner_id
            and pairs.course_key = results.course_key
    left join data_ends
        on pairs.source = data_ends.source
    left join staff
        on
            pairs.source = staff.source
            and pairs.learner_id = staff.learner_id
            and pairs.course_key = staff.course_key
    where staff.learner_id is null
),

final as (
    select
        *,
        cast(unregistered_at as date) as unregistered_on,
        case when is_last and is_passing then cast(first_passed_at as date) end as completed_on,
        case
            when is_last and is_passing then 'pass'
            when unregistered_at is not null then 'withdrawn'
            when is_last and not is_passing and is_over then 'fail'
        end as outcome,
        case when is_last then grade_share end as final_grade_share
    from joined
)

{{ canonical_select(
    "final", "course_enrollments", absent=["registered_on", "studied_credits", "previous_attempt_count"]
) }}
