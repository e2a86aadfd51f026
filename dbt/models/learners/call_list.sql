-- Whom to call: learners at high or medium risk by the last scoring, with why, since when and what changed this week.
-- Grain: one row per source × outcome × enrollment.
with scores as (
    select * from {{ source("analytics", "at_risk_scores") }}
),

scorings as (
    select
        source,
        outcome,
        scored_at,
        max(scored_on) as scored_on,
        row_number() over (partition by source, outcome order by scored_at) as place,
        row_number() over (partition by source, outcome order by scored_at desc) as place_from_last
    from scores
    group by source, outcome, scored_at
),

-- The random share that is not contacted is not on the list; the scores keep it.
at_risk as (
    select
        scores.*,
        scorings.place,
        scorings.place_from_last
    from scores
    inner join scorings
        on
            scores.source = scorings.source
            and scores.outcome = scorings.outcome
            and scores.scored_at = scorings.scored_at
    where scores.band in ('high', 'medium') and not scores.is_held_out
),

listed as (
    select * from at_risk
    where place_from_last = 1
),

-- Scorings one after another with the learner on the list have the same distance to their own number.
numbered as (
    select
        at_risk.source,
        at_risk.outcome,
        at_risk.enrollment_key,
        at_risk.scored_on,
        at_risk.place_from_last,
        at_risk.place - row_number() over (
            partition by at_risk.source, at_risk.outcome, at_risk.enrollment_key
            order by at_risk.place
        ) as stretch
    from at_risk
    inner join listed
        on
            at_risk.source = listed.source
            and at_risk.outcome = listed.outcome
            and at_risk.enrollment_key = listed.enrollment_key
),

stretches as (
    select
        source,
        outcome,
        enrollment_key,
        min(scored_on) as listed_since_on
    from numbered
    group by source, outcome, enrollment_key, stretch
    having min(place_from_last) = 1
),

-- The scoring of a week before: the last one that is at least seven days older.
earlier_scorings as (
    select
        earlier.source,
        earlier.outcome,
        max(earlier.place) as place
    from scorings as earlier
    inner join scorings as latest
        on
            earlier.source = latest.source
            and earlier.outcome = latest.outcome
            and latest.place_from_last = 1
    where {{ days_between("earlier.scored_on", "latest.scored_on") }} >= 7
    group by earlier.source, earlier.outcome
),

listed_a_week_before as (
    select at_risk.*
    from at_risk
    inner join earlier_scorings
        on
            at_risk.source = earlier_scorings.source
            and at_risk.outcome = earlier_scorings.outcome
            and at_risk.place = earlier_scorings.place
),

weeks as (
    select
        'failed_or_withdrawn' as outcome,
        course_enrollment_key as enrollment_key,
        as_of_on,
        last_week_active_days
    from {{ ref("mart_learner_course_week") }}
    union all
    select
        'not_retained' as outcome,
        program_enrollment_key as enrollment_key,
        as_of_on,
        -- Nobody falls silent between terms or on leave.
        case when not is_between_terms and not is_on_leave then last_week_active_days end as last_week_active_days
    from {{ ref("mart_learner_program_week") }}
),

-- No activity in the week that the score knows last, and some in the week before it.
newly_silent as (
    select
        listed.outcome,
        listed.enrollment_key
    from listed
    inner join weeks
        on
            listed.outcome = weeks.outcome
            and listed.enrollment_key = weeks.enrollment_key
    group by listed.outcome, listed.enrollment_key
    having
        max(case when weeks.as_of_on = listed.as_of_on then weeks.last_week_active_days end) = 0
        and max(
            case when weeks.as_of_on = {{ add_days("listed.as_of_on", -7) }} then weeks.last_week_active_days end
        ) > 0
),

reasons as (
    select
        at_risk_reasons.*,
        coalesce(actions.title, at_risk_reasons.reason) as title,
        actions.suggested_action,
        actions.suggested_words
    from {{ source("analytics", "at_risk_reasons") }} as at_risk_reasons
    left join {{ ref("at_risk_actions") }} as actions
        on at_risk_reasons.reason = actions.reason
),

told as (
    select
        source,
        outcome,
        enrollment_key,
        {%- for place in [1, 2, 3] %}
        max(case when place = {{ place }} then title end) as reason_{{ place }},
        max(case when place = {{ place }} then measure end) as measure_{{ place }},
        max(case when place = {{ place }} then learner_value end) as learner_value_{{ place }},
        max(case when place = {{ place }} then peers_median end) as peers_median_{{ place }},
        {%- endfor %}
        max(case when place = 1 then suggested_action end) as suggested_action,
        max(case when place = 1 then suggested_words end) as suggested_words
    from reasons
    group by source, outcome, enrollment_key
),

-- The last contact about what is scored, or about nothing in particular.
contacts as (
    select
        listed.source,
        listed.outcome,
        listed.enrollment_key,
        interventions.contacted_on,
        interventions.channel,
        interventions.topic
    from listed
    inner join {{ ref("fct_intervention") }} as interventions
        on listed.learner_key = interventions.learner_key
    where
        coalesce(interventions.course_key = listed.course_key, true)
        and coalesce(interventions.program_key = listed.program_key, true)
    qualify
        row_number() over (
            partition by listed.source, listed.outcome, listed.enrollment_key
            order by
                interventions.contacted_on desc, interventions.contacted_at desc, interventions.intervention_key desc
        ) = 1
),

programs as (
    select * from {{ ref("dim_program") }}
),

courses as (
    select * from {{ ref("dim_course") }}
),

final as (
    select
        listed.*,
        stretches.listed_since_on,
        -- Without a scoring of a week before, nobody is new.
        earlier_scorings.place is not null and listed_a_week_before.enrollment_key is null as is_newly_at_risk,
        newly_silent.enrollment_key is not null as is_newly_silent,
        contacts.contacted_on as last_contacted_on,
        contacts.channel as last_contact_channel,
        contacts.topic as last_contact_topic,
        -- Against the day that the score knows, and not today: the data may be of last week.
        coalesce(
            {{ days_between("contacts.contacted_on", "listed.as_of_on") }} <= {{ var("recent_contact_days") }},
            false
        ) as is_contacted_recently
    from listed
    inner join stretches
        on
            listed.source = stretches.source
            and listed.outcome = stretches.outcome
            and listed.enrollment_key = stretches.enrollment_key
    left join earlier_scorings
        on
            listed.source = earlier_scorings.source
            and listed.outcome = earlier_scorings.outcome
    left join listed_a_week_before
        on
            listed.source = listed_a_week_before.source
            and listed.outcome = listed_a_week_before.outcome
            and listed.enrollment_key = listed_a_week_before.enrollment_key
    left join newly_silent
        on
            listed.outcome = newly_silent.outcome
            and listed.enrollment_key = newly_silent.enrollment_key
    left join contacts
        on
            listed.source = contacts.source
            and listed.outcome = contacts.outcome
            and listed.enrollment_key = contacts.enrollment_key
)

select
    final.source,
    final.outcome,
    cast(
        row_number() over (
            partition by final.source, final.outcome
            order by
                final.is_contacted_recently asc,
                case when final.band = 'high' then 0 else 1 end asc,
                final.probability desc,
                final.enrollment_key asc
        ) as integer
    ) as call_order,
    final.enrollment_key,
    final.learner_key,
    final.program_key,
    final.course_key,
    programs.program_name,
    courses.course_name,
    final.week_number,
    final.as_of_on,
    final.band,
    final.probability,
    final.probability_low,
    final.probability_high,
    final.probability_change,
    final.listed_since_on,
    final.is_newly_at_risk,
    final.is_newly_silent,
    final.last_contacted_on,
    final.last_contact_channel,
    final.last_contact_topic,
    final.is_contacted_recently,
    {%- for place in [1, 2, 3] %}
    told.reason_{{ place }},
    told.measure_{{ place }},
    told.learner_value_{{ place }},
    told.peers_median_{{ place }},
    {%- endfor %}
    told.suggested_action,
    told.suggested_words,
    final.model_version,
    final.scored_on,
    final.scored_at
from final
left join told
    on
        final.source = told.source
        and final.outcome = told.outcome
        and final.enrollment_key = told.enrollment_key
left join programs
    on final.program_key = programs.program_key
left join courses
    on final.course_key = courses.course_key
