-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_coursera", [
        "users", "courses", "course_memberships",
        "on_demand_sessions", "on_demand_session_memberships", "users_courses__certificate_payments",
        "users_courses__degree_program_memberships", "course_progress", "course_grades",
        "course_item_grades", "course_branches", "course_branch_modules",
        "course_branch_lessons", "course_branch_items", "course_modules",
        "course_lessons", "course_items", "course_item_types",
        "course_item_assessments", "course_branch_item_assessments", "assessment_actions",
        "assessment_responses", "assessment_assessments_questions", "course_item_peer_assignments",
        "course_branch_item_peer_assignments", "peer_assignments", "peer_submissions",
        "peer_reviews", "peer_review_part_choices", "peer_assignment_review_schema_part_options",
        "course_branch_item_programming_assignments", "course_item_programming_assignments", "programming_submissions",
        "discussion_questions", "discussion_answers", "clickstream",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
