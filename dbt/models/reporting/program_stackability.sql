-- From stackable open courses into the degree and a year on. Grain: one row per source × program.
with stackability as (
    select * from {{ ref("mart_program_stackability") }}
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
        "open_learner_count", "open_completer_count", "open_learner_to_entrant_share",
    ], "open_completer_count") }},
    {{ shown("stackability", ["enrolled_entrant_count"], "enrolled_entrant_count") }},
    {{ shown("stackability", ["completed_entrant_count"], "completed_entrant_count") }},
    {{ shown("stackability", ["other_entrant_count"], "other_entrant_count") }},
    {{ shown("stackability", ["enrolled_retained_share"], "enrolled_followed_count") }},
    {{ shown("stackability", ["completed_retained_share"], "completed_followed_count") }},
    {{ shown("stackability", ["other_retained_share"], "other_followed_count") }}
from stackability
inner join programs
    on stackability.program_key = programs.program_key
