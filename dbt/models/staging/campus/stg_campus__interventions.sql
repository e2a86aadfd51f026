-- The log of contacts. Grain: one row per source × contact.
with interventions as (
    {{ deduplicated("raw_campus", "interventions") }}
),

final as (
    select
        source,
        intervention_id,
        learner_id,
        program_id,
        course_id,
        channel,
        topic,
        contacted_by,
        contacted_at,
        recorded_at
    from interventions
)

{{ canonical_select("final", "interventions") }}
