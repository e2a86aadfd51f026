-- What learners did, from statements and from logs alike. Grain: one row per raw row of either; the same event in both,
-- or delivered again, has the same event_id.
{{ config(materialized="view", contract={"enforced": false}) }}

with events as (
    select * from {{ ref("int_openedx__statement_events") }}
    union all
    select * from {{ ref("int_openedx__log_events") }}
),

identities as (
    select * from {{ ref("int_openedx__learner_ids") }}
),

identified as (
    select
        events.*,
        coalesce(events.external_id, names.learner_id, numbers.learner_id) as learner_id
    from events
    left join identities as names
        on
            events.source = names.source
            and names.identity_kind = 'username'
            and events.username = names.identity_value
    left join identities as numbers
        on
            events.source = numbers.source
            and numbers.identity_kind = 'user_id'
            and events.user_id = numbers.identity_value
)

select
    source,
    origin,
    record_id,
    -- Neither logs nor statements of another maker give an id by which both could be told to be one event.
    md5(
        learner_id || '|' || kind || '|' || coalesce(course_key, '') || '|' || coalesce(object_id, '') || '|'
        || cast(occurred_at as {{ dbt.type_string() }})
    ) as event_id,
    learner_id,
    {{ openedx_course("course_key") }} as course_id,
    {{ openedx_run("course_key") }} as term_id,
    course_key,
    course_name,
    kind,
    object_id,
    block_id,
    occurred_on,
    occurred_at,
    correct_map,
    is_group,
    enrollment_mode,
    attempt_number,
    score,
    maximum_score,
    is_correct,
    is_passing,
    completion_share,
    position_seconds,
    from_seconds,
    to_seconds,
    duration_seconds,
    playback_rate,
    case
        when learner_id is null then 'no learner'
        when has_failed then 'failed on the platform'
        when course_key is null then 'no course'
    end as drop_reason
from identified
