-- Sources of the warehouse and the time their data cover. Grain: one row per source.
with sources as (
    {%- for contract in var("contracts") %}
    select distinct
        source,
        '{{ contract }}' as contract
    from {{ ref("stg_" ~ contract ~ "__course_offerings") }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

-- Activity alone says how far the data reach: it comes every day, while a single wrong date of a submission would
-- make weeks look complete that nobody has delivered yet.
activity as (
    select
        source,
        min(activity_on) as first_on,
        max(known_on) as last_on,
        bool_or(task_count is not null) as has_tasks,
        bool_or(learning_seconds is not null) as has_learning_time
    from {{ ref("fct_daily_activity") }}
    group by source
)

select
    sources.source,
    sources.contract,
    activity.first_on as first_data_on,
    activity.last_on as last_data_on,
    coalesce(activity.has_tasks, false) as has_tasks,
    coalesce(activity.has_learning_time, false) as has_learning_time,
    sources.source in (select contacts.source from {{ ref("fct_intervention") }} as contacts) as has_interventions
from sources
left join activity
    on sources.source = activity.source
