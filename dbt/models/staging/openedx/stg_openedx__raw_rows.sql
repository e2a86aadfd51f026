-- How many rows raw holds, and how many are left when duplicates are resolved. Grain: one row per source × raw table.
with final as (
    {{ counted_rows("raw_openedx", [
        "course_overviews",
        "course_blocks",
        "user_profile",
        "external_id",
        "auth_user",
        "auth_userprofile",
        "student_courseenrollment",
        "student_courseaccessrole",
        "certificates_generatedcertificate",
    ]) }}
)

{{ canonical_select("final", "raw_rows") }}
