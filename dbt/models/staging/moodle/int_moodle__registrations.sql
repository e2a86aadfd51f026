-- Who was enrolled in which course, from when to when; several ways to enrol at the same time are one registration.
-- Grain: one row per source × person × course of Moodle × registration.
{{ config(materialized="table", contract={"enforced": false}) }}

with enrolments as (
    {{ deduplicated("raw_moodle", "user_enrolments") }}
),

ways as (
    {{ deduplicated("raw_moodle", "enrol") }}
),

roles as (
    {{ deduplicated("raw_moodle", "role") }}
),

assignments as (
    {{ deduplicated("raw_moodle", "role_assignments") }}
),

contexts as (
    {{ deduplicated("raw_moodle", "context") }}
),

-- What the log tells of enrolments and roles. An event may be delivered twice: the earliest and latest are taken below.
changes as (
    select
        source,
        target,
        action,
        objectid,
        relateduserid as userid,
        courseid,
        timecreated
    from {{ source("raw_moodle", "logstore_standard_log") }}
    where
        component = 'core'
        and (
            (target = 'user_enrolment' and action in ('created', 'deleted'))
            or (target = 'role' and action = 'assigned')
        )
        and relateduserid is not null
        and courseid is not null
),

logged as (
    select
        source,
        objectid as id,
        userid,
        courseid,
        min(timecreated) filter (where action = 'created') as created_at,
        max(timecreated) filter (where action = 'deleted') as deleted_at
    from changes
    where target = 'user_enrolment'
    group by source, objectid, userid, courseid
),

current_roles as (
    select
        contexts.source,
        contexts.instanceid as courseid,
        assignments.userid,
        bool_or({{ moodle_is_learner_role("roles") }}) as is_learner
    from assignments
    inner join contexts
        on
            assignments.source = contexts.source
            and assignments.contextid = contexts.id
            and contexts.contextlevel = 50
    inner join roles
        on
            assignments.source = roles.source
            and assignments.roleid = roles.id
    group by contexts.source, contexts.instanceid, assignments.userid
),

sources_with_contexts as (
    select distinct source
    from current_roles
),

logged_roles as (
    select
        changes.source,
        changes.courseid,
        changes.userid,
        bool_or({{ moodle_is_learner_role("roles") }}) as is_learner
    from changes
    inner join roles
        on
            changes.source = roles.source
            and changes.objectid = roles.id
    where changes.target = 'role'
    group by changes.source, changes.courseid, changes.userid
),

present as (
    select
        enrolments.source,
        enrolments.id,
        enrolments.userid,
        ways.courseid,
        ways.enrol as way,
        coalesce(enrolments.timecreated, enrolments.timestart) as began_at,
        coalesce(logged.deleted_at, case when enrolments.status = 1 then enrolments.timemodified end) as left_at,
        case when roles.id is not null then {{ moodle_is_learner_role("roles") }} end as is_learner_way,
        true as is_present
    from enrolments
    inner join ways
        on
            enrolments.source = ways.source
            and enrolments.enrolid = ways.id
    left join roles
        on
            ways.source = roles.source
            and ways.roleid = roles.id
    left join logged
        on
            enrolments.source = logged.source
            and enrolments.id = logged.id
            and enrolments.userid = logged.userid
            and ways.courseid = logged.courseid
),

-- Enrolments whose row is gone: the log alone knows them.
gone as (
    select
        logged.source,
        logged.id,
        logged.userid,
        logged.courseid,
        null as way,
        logged.created_at as began_at,
        logged.deleted_at as left_at,
        null as is_learner_way,
        false as is_present
    from logged
    left join enrolments
        on
            logged.source = enrolments.source
            and logged.id = enrolments.id
    where
        logged.deleted_at is not null
        and enrolments.id is null
),

together as (
    select * from present
    union all
    select * from gone
),

compared as (
    select
        *,
        max(coalesce(left_at, timestamp '9999-12-31 00:00:00')) over (
            partition by source, userid, courseid
            order by coalesce(began_at, timestamp '0001-01-01 00:00:00'), id
            rows between unbounded preceding and 1 preceding
        ) as others_left_at
    from together
),

numbered as (
    select
        *,
        sum(case when others_left_at is null or began_at > others_left_at then 1 else 0 end) over (
            partition by source, userid, courseid
            order by coalesce(began_at, timestamp '0001-01-01 00:00:00'), id
            rows between unbounded preceding and current row
        ) as registration_number
    from compared
),

registrations as (
    select
        source,
        userid,
        courseid,
        registration_number,
        min(began_at) as registered_at,
        case when count(left_at) = count(*) then max(left_at) end as left_at,
        max(case when way in ('fee', 'paypal') then 1 end) = 1 as is_paid,
        bool_or(is_learner_way) as is_learner_way,
        bool_or(is_present) as is_present
    from numbered
    group by source, userid, courseid, registration_number
)

select
    registrations.source,
    registrations.userid as learner_id,
    registrations.courseid as moodle_course_id,
    registrations.registration_number,
    registrations.registered_at,
    registrations.left_at,
    registrations.is_paid,
    -- Roles of those who left are gone with the enrolment. Who is enrolled without a role is none of the learners; of
    -- whom nothing is known is taken for one.
    coalesce(
        current_roles.is_learner,
        logged_roles.is_learner,
        case when sources_with_contexts.source is null then registrations.is_learner_way end,
        not (registrations.is_present and sources_with_contexts.source is not null)
    ) as is_learner
from registrations
left join current_roles
    on
        registrations.source = current_roles.source
        and registrations.courseid = current_roles.courseid
        and registrations.userid = current_roles.userid
left join logged_roles
    on
        registrations.source = logged_roles.source
        and registrations.courseid = logged_roles.courseid
        and registrations.userid = logged_roles.userid
left join sources_with_contexts
    on registrations.source = sources_with_contexts.source
