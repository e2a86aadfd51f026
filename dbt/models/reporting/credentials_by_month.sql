-- Credentials earned: of a kind in a month, of a kind in a year, and in a year. Grain: one row per source × level ×
-- kind × month.
{%- set levels = [
    {"name": "month", "keys": ["credential_kind", "month_starts_on"]},
    {"name": "kind_year", "keys": ["credential_kind", "year_number"]},
    {"name": "year", "keys": ["year_number"]},
] %}
{%- set measures = [{"name": "credential", "value": "count(*)"}] %}

with credentials as (
    select
        source,
        learner_key,
        coalesce(kind, 'not known') as credential_kind,
        cast(date_trunc('month', issued_on) as date) as month_starts_on,
        cast(year(issued_on) as integer) as year_number
    from {{ ref("fct_credential") }}
    where issued_on is not null
),

{{ protected_groups("credentials", levels, measures) }}

select
    source,
    level,
    credential_kind,
    month_starts_on,
    year_number,
    {{ shown_measure(measures[0]) }},
    {{ withheld_because(measures) }}
from protected
