-- Sources of the warehouse and the time their data cover. Grain: one row per source.
with sources as (
    {%- for contract in var("contracts") %}
    select distinct
        source,
        '{{ contract }}' as contract
    from {{ ref("stg_" ~ contract ~ "__raw_rows") }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

known as (
    select
        source,
        min(activity_on) as first_on,
        max(known_on) as last_on
    from {{ ref("fct_daily_activity") }}
    group by source
    union all
    select
        source,
        min(submitted_on) as first_on,
        max(submitted_on) as last_on
    from {{ ref("fct_submission") }}
    group by source
)

select
    sources.source,
    sources.contract,
    min(known.first_on) as first_data_on,
    max(known.last_on) as last_data_on
from sources
left join known
    on sources.source = known.source
group by sources.source, sources.contract
