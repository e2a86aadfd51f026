-- Finds time zones that the engine does not know by their name. Grain: one row per program or institution.
-- When it fails: days of these are counted as if no zone were told: of a program in the institution's, else in UTC.
-- To resolve: have the source deliver a name of the IANA database, such as America/Lima.
{{ config(meta={"dagster": {"ref": {"name": "dim_program"}}}) }}

with told as (
    select
        source,
        'program ' || program_id as told_of,
        time_zone
    from (
        {{ union_contracts("programs") }}
    ) as programs

    union all

    select
        source,
        'institution ' || institution_id as told_of,
        time_zone
    from (
        {{ union_contracts("institutions") }}
    ) as institutions
)

select
    source,
    told_of,
    time_zone
from told
where
    time_zone is not null
    and not coalesce({{ is_time_zone("time_zone") }}, false)
