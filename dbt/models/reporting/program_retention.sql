-- How many starters of a degree were in coursework a year later, with and without those who graduated by then: by first
-- term, by year of entry, and all of a year.
-- Grain: one row per source × level × group.
{%- set levels = [
    {"name": "program_term", "keys": ["first_term_key"]},
    {"name": "program_year", "keys": ["program_key", "first_year_number"]},
    {"name": "year", "keys": ["first_year_number"]},
] %}
{%- set measures = [
    {"name": "starter", "value": "count(*)"},
    {"name": "followed", "words": "followed", "value": "count(is_retained)", "within": "starter"},
    {
        "name": "retained", "words": "retained", "within": "followed", "of": "count(is_retained)",
        "value": "count(case when is_retained then 1 end)", "rest": "count(case when not is_retained then 1 end)",
    },
    {
        "name": "graduated", "words": "graduated", "within": "retained", "of": "count(is_graduated)",
        "value": "count(case when is_graduated then 1 end)", "rest": "count(case when not is_graduated then 1 end)",
    },
] %}
{%- set most = minimum_group_size() - 1 %}

with starters as (
    select
        learners.source,
        learners.learner_key,
        learners.program_key,
        learners.first_term_key,
        cast(year(terms.starts_on) as integer) as first_year_number,
        learners.is_retained,
        case when learners.is_retained then learners.is_graduated end as is_graduated
    from {{ ref("mart_learner_program") }} as learners
    inner join {{ ref("dim_program") }} as programs
        on learners.program_key = programs.program_key
    inner join {{ ref("dim_term") }} as terms
        on learners.first_term_key = terms.term_key
    where programs.program_type = 'degree'
),

{{ protected_groups("starters", levels, measures) }},

-- How many graduated, as far as it is told: exactly, or that it, or the number of the other retained, is small.
graduates as (
    select
        *,
        case
            when graduated_why is null and graduated_of > 0 then graduated_value
            when graduated_why = 'small' and graduated_value > {{ most }} then graduated_of - {{ most }}
            when graduated_why = 'small' and graduated_rest > {{ most }} then 0
        end as least_graduated,
        case
            when graduated_why is null and graduated_of > 0 then graduated_value
            when graduated_why = 'small' and graduated_value > {{ most }} then graduated_of
            when graduated_why = 'small' and graduated_rest > {{ most }} then {{ most }}
        end as most_graduated
    from protected
),

-- Who graduated neither came back nor left: without them fewer are retained of fewer.
ranges as (
    select
        *,
        least_graduated = most_graduated as is_exact,
        cast(retained_value - most_graduated as double) / nullif(followed_value - most_graduated, 0) as least_share,
        cast(retained_value - least_graduated as double) / nullif(followed_value - least_graduated, 0) as most_share
    from graduates
),

without_graduates as (
    select
        *,
        case when is_exact then cast(retained_value - most_graduated as integer) end
            as retained_without_graduates_count,
        case when is_exact then most_share end as retained_without_graduates_share,
        case when not is_exact then least_share end as retained_without_graduates_share_at_least,
        case when not is_exact then most_share end as retained_without_graduates_share_at_most,
        case
            when is_exact then {{ whole_percent("most_share") }} || ' %'
            else
                {{ whole_percent("least_share", "floor") }} || ' to '
                || {{ whole_percent("most_share", "ceil") }} || ' %'
        end as retained_without_graduates_share_told
    from ranges
)

select
    without_graduates.source,
    without_graduates.level,
    without_graduates.program_key,
    without_graduates.first_term_key,
    without_graduates.first_year_number,
    programs.program_name,
    programs.university_name,
    terms.term_id as first_term_name,
    terms.starts_on as first_term_starts_on,
    {%- for measure in measures %}
    {{ shown_measure(measure) }},
    {%- endfor %}
    {%- for column in ["count", "share", "share_at_least", "share_at_most", "share_told"] %}
    without_graduates.retained_without_graduates_{{ column }},
    {%- endfor %}
    {{ withheld_because(measures) }}
from without_graduates
left join {{ ref("dim_program") }} as programs
    on without_graduates.program_key = programs.program_key
left join {{ ref("dim_term") }} as terms
    on without_graduates.first_term_key = terms.term_key
