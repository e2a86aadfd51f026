-- Sessions of courses, and the course as learners without a session take it (`open`). Grain: one row per source ×
-- course × session.
with sessions as (
    {{ deduplicated("raw_coursera", "on_demand_sessions") }}
),

branches as (
    {{ deduplicated("raw_coursera", "course_branches") }}
),

memberships as (
    select * from {{ source("raw_coursera", "course_memberships") }}
),

last_branches as (
    select
        source,
        course_id,
        max(course_branch_id) as branch_id
    from branches
    group by source, course_id
),

offered as (
    select
        source,
        course_id,
        on_demand_session_id as term_id,
        course_branch_id as branch_id,
        cast(on_demand_sessions_start_ts as date) as starts_on,
        case
            when on_demand_sessions_end_ts > on_demand_sessions_start_ts then cast(on_demand_sessions_end_ts as date)
        end as ends_on
    from sessions

    union all

    select
        source,
        course_id,
        'open' as term_id,
        null as branch_id,
        cast(min(course_membership_ts) as date) as starts_on,
        null as ends_on
    from memberships
    group by source, course_id
),

final as (
    select
        offered.source,
        offered.course_id,
        offered.term_id,
        coalesce(offered.branch_id, last_branches.branch_id, offered.course_id) as version_id,
        offered.starts_on,
        offered.ends_on
    from offered
    left join last_branches
        on
            offered.source = last_branches.source
            and offered.course_id = last_branches.course_id
)

{{ canonical_select("final", "course_offerings") }}
