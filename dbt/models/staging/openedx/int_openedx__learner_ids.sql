-- Whom each name, number and external id means. Grain: one row per source × identity (kind and value).
{{ config(materialized="table", contract={"enforced": false}) }}

with external_ids as (
    select
        source,
        external_user_id,
        username,
        user_id
    from {{ source("raw_openedx", "external_id") }}
    where lower(external_id_type) = 'xapi'
    qualify row_number() over (
        partition by source, coalesce(username, user_id)
        order by time_last_dumped desc nulls last, external_user_id asc
    ) = 1
),

log_lines as (
    select distinct
        source,
        username,
        event_username,
        session_user_id,
        event_user_id
    from {{ source("raw_openedx", "tracking_log") }}
),

-- Names and numbers, as far as anything tells which belong together.
told as (
    select
        source,
        username,
        user_id
    from external_ids
    union all
    select
        source,
        username,
        user_id
    from {{ source("raw_openedx", "user_profile") }}
    union all
    select
        source,
        username,
        id as user_id
    from {{ source("raw_openedx", "auth_user") }}
    union all
    select
        source,
        username,
        session_user_id as user_id
    from log_lines
    union all
    select
        source,
        event_username as username,
        event_user_id as user_id
    from log_lines
    union all
    select
        source,
        null as username,
        event_user_id as user_id
    from log_lines
    union all
    select
        source,
        null as username,
        user_id
    from {{ source("raw_openedx", "auth_userprofile") }}
    union all
    select
        source,
        null as username,
        user_id
    from {{ source("raw_openedx", "student_courseenrollment") }}
    union all
    select
        source,
        null as username,
        user_id
    from {{ source("raw_openedx", "student_courseaccessrole") }}
    union all
    select
        source,
        null as username,
        user_id
    from {{ source("raw_openedx", "certificates_generatedcertificate") }}
),

-- A name may be changed: of several with a number the greatest stands for all, whatever the order of loading.
named as (
    select
        source,
        user_id,
        max(username) as username
    from told
    where user_id is not null
    group by source, user_id
),

numbered as (
    select
        source,
        username,
        max(user_id) as user_id
    from told
    where username is not null
    group by source, username
),

names_joined as (
    select
        numbered.source,
        numbered.username,
        coalesce(by_name.external_user_id, by_number.external_user_id, named.username, numbered.username) as learner_id
    from numbered
    left join named
        on
            numbered.source = named.source
            and numbered.user_id = named.user_id
    left join external_ids as by_name
        on
            numbered.source = by_name.source
            and numbered.username = by_name.username
    left join external_ids as by_number
        on
            numbered.source = by_number.source
            and numbered.user_id = by_number.user_id
),

numbers_joined as (
    select
        named.source,
        named.user_id,
        coalesce(by_number.external_user_id, names_joined.learner_id, named.user_id) as learner_id
    from named
    left join names_joined
        on
            named.source = names_joined.source
            and named.username = names_joined.username
    left join external_ids as by_number
        on
            named.source = by_number.source
            and named.user_id = by_number.user_id
)

select
    source,
    'username' as identity_kind,
    username as identity_value,
    max(learner_id) as learner_id
from names_joined
group by source, username

union all

select
    source,
    'user_id' as identity_kind,
    user_id as identity_value,
    max(learner_id) as learner_id
from numbers_joined
group by source, user_id
