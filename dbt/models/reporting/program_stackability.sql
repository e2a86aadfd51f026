-- From stackable open courses into the degree and a year on. Grain: one row per source × program.
-- Who completed, who only enrolled and who did neither are all entrants, whose number and retention are known: where
-- one of the three is too small, none is shown.
with stackability as (
    select
        *,
        {{ is_any_small(["open_completer_count", "open_learner_count - open_completer_count"]) }} as is_open_withheld,
        {{ is_any_small([
            "completed_entrant_count", "enrolled_entrant_count - completed_entrant_count", "other_entrant_count",
        ]) }} as is_withheld,
        {{ is_any_small([
            "completed_followed_count", "enrolled_followed_count - completed_followed_count", "other_followed_count",
            "completed_entrant_count", "enrolled_entrant_count - completed_entrant_count", "other_entrant_count",
        ]) }} as is_share_withheld
    from {{ ref("mart_program_stackability") }}
),

programs as (
    select * from {{ ref("dim_program") }}
)

select
    stackability.source,
    programs.program_name,
    programs.university_name,
    stackability.stackable_course_count,
    {{ shown("stackability", [
        "open_learner_count", "open_completer_count",
    ], "open_completer_count", "is_open_withheld") }},
    case
        when not stackability.is_open_withheld and not stackability.is_withheld
            then stackability.open_learner_to_entrant_share
    end as open_learner_to_entrant_share,
    {{ shown("stackability", ["enrolled_entrant_count"], "enrolled_entrant_count", "is_withheld") }},
    {{ shown("stackability", ["completed_entrant_count"], "completed_entrant_count", "is_withheld") }},
    {{ shown("stackability", ["other_entrant_count"], "other_entrant_count", "is_withheld") }},
    {{ shown("stackability", ["enrolled_retained_share"], "enrolled_followed_count", "is_share_withheld") }},
    {{ shown("stackability", ["completed_retained_share"], "completed_followed_count", "is_share_withheld") }},
    {{ shown("stackability", ["other_retained_share"], "other_followed_count", "is_share_withheld") }}
from stackability
inner join programs
    on stackability.program_key = programs.program_key
