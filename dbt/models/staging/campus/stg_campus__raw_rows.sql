-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_campus", [
        "learners",
        "organizations",
        "organization_members",
        "institutions",
        "programs",
        "terms",
        "program_enrollments",
        "courses",
        "program_courses",
        "course_offerings",
        "course_items",
        "shared_items",
        "course_enrollments",
        "submissions",
        "submission_marks",
        "questions",
        "responses",
        "skills",
        "question_skills",
        "course_skills",
        "support_tickets",
        "interventions",
        "profiles",
        "credentials",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
