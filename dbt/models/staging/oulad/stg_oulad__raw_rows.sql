-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_oulad", [
        "courses", "assessments", "vle", "studentInfo", "studentRegistration", "studentAssessment", "studentVle",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
