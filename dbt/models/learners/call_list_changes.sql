-- What the last scoring changed in the call list against the one before it. Grain: one row per source × outcome ×
-- enrollment × change.
with scores as (
    select * from {{ source("analytics", "at_risk_scores") }}
),

scorings as (
    select
        source,
        outcome,
        scored_at,
        max(scored_on) as scored_on,
        row_number() over (partition by source, outcome order by scored_at desc) as place
    from scores
    group by source, outcome, scored_at
),

days as (
    select
        latest.source,
        latest.outcome,
        latest.scored_on,
        earlier.scored_on as earlier_scored_on
    from scorings as latest
    inner join scorings as earlier
        on
            latest.source = earlier.source
            and latest.outcome = earlier.outcome
            and earlier.place = 2
    where latest.place = 1
),

before as (
    select scores.*
    from scores
    inner join scorings
        on
            scores.source = scorings.source
            and scores.outcome = scorings.outcome
            and scores.scored_at = scorings.scored_at
    where scorings.place = 2
),

listed as (
    select * from {{ ref("call_list") }}
),

changes as (
    select
        'newly_at_risk' as change,
        listed.source,
        listed.outcome,
        listed.enrollment_key,
        listed.learner_key,
        listed.program_key,
        listed.course_key,
        listed.band,
        before.band as earlier_band
    from listed
    left join before
        on
            listed.source = before.source
            and listed.outcome = before.outcome
            and listed.enrollment_key = before.enrollment_key
    where coalesce(before.band not in ('high', 'medium') or before.is_held_out, true)
    union all
    -- Told once: when a week ended that the scoring before did not know yet.
    select
        'newly_silent' as change,
        listed.source,
        listed.outcome,
        listed.enrollment_key,
        listed.learner_key,
        listed.program_key,
        listed.course_key,
        listed.band,
        before.band as earlier_band
    from listed
    left join before
        on
            listed.source = before.source
            and listed.outcome = before.outcome
            and listed.enrollment_key = before.enrollment_key
    where listed.is_newly_silent and coalesce(before.as_of_on < listed.as_of_on, true)
    union all
    select
        'no_longer_listed' as change,
        before.source,
        before.outcome,
        before.enrollment_key,
        before.learner_key,
        before.program_key,
        before.course_key,
        scores.band,
        before.band as earlier_band
    from before
    inner join scorings
        on
            before.source = scorings.source
            and before.outcome = scorings.outcome
            and scorings.place = 1
    left join scores
        on
            before.source = scores.source
            and before.outcome = scores.outcome
            and before.enrollment_key = scores.enrollment_key
            and scorings.scored_at = scores.scored_at
    left join listed
        on
            before.source = listed.source
            and before.outcome = listed.outcome
            and before.enrollment_key = listed.enrollment_key
    where before.band in ('high', 'medium') and not before.is_held_out and listed.enrollment_key is null
)

select
    changes.source,
    changes.outcome,
    changes.change,
    changes.enrollment_key,
    changes.learner_key,
    changes.program_key,
    changes.course_key,
    programs.program_name,
    courses.course_name,
    changes.band,
    changes.earlier_band,
    days.scored_on,
    days.earlier_scored_on
from changes
inner join days
    on
        changes.source = days.source
        and changes.outcome = days.outcome
left join {{ ref("dim_program") }} as programs
    on changes.program_key = programs.program_key
left join {{ ref("dim_course") }} as courses
    on changes.course_key = courses.course_key
