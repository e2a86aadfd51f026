-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_moodle", [
        "user", "course", "enrol", "user_enrolments", "role", "role_assignments", "context", "course_categories",
        "modules", "course_modules", "assign", "assign_submission", "assign_grades", "groups_members", "quiz",
        "quiz_attempts", "question_attempts", "question_attempt_steps", "question_versions", "lesson", "lesson_grades",
        "page", "forum", "forum_discussions", "forum_posts", "grade_items", "grade_grades", "course_completions",
        "course_modules_completion", "logstore_standard_log", "program_categories", "program_members", "course_runs",
        "institution", "skills", "question_skills", "course_skills", "assign_overrides", "assign_user_flags",
        "quiz_overrides", "quiz_grades",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
