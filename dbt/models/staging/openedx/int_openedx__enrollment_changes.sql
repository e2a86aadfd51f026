-- Enrollments, changes of mode and departures as they happened: the history of modes. Grain: one row per source ×
-- learner × course key × change.
{{ config(materialized="table", contract={"enforced": false}) }}

with changes as (
    select
        source,
        learner_id,
        course_key,
        occurred_at,
        kind,
        enrollment_mode
    from {{ ref("int_openedx__learning_events") }}
    where
        drop_reason is null
        and kind in ('registered', 'unregistered')
    qualify row_number() over (partition by source, event_id order by enrollment_mode nulls last, record_id) = 1
),

in_order as (
    select
        *,
        lag(kind) over (partition by source, learner_id, course_key order by occurred_at asc, kind desc) as last_kind,
        row_number() over (partition by source, learner_id, course_key order by occurred_at desc, kind asc)
        = 1 as is_last
    from changes
),

-- Who is registered and is registered again changes the mode: logs have a name for that, statements have none.
marked as (
    select
        *,
        case
            when last_kind is null then true
            else kind = 'registered' and last_kind = 'unregistered'
        end as is_new_registration
    from in_order
)

select
    source,
    learner_id,
    course_key,
    occurred_at,
    kind,
    enrollment_mode,
    is_last,
    not is_new_registration and kind = 'registered' as is_mode_change,
    sum(case when is_new_registration then 1 else 0 end) over (
        partition by source, learner_id, course_key
        order by occurred_at asc, kind desc
        rows between unbounded preceding and current row
    ) as registration_number
from marked
