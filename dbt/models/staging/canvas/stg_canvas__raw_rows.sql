-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_canvas", [
        "users", "enrollment_terms", "courses", "enrollments", "scores", "assignments", "submissions", "web_logs",
        "institution",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
