-- Degree programs that the institution named, else one that stands for the site. Grain: one row per source × program.
with mapped as (
    {{ deduplicated("raw_moodle", "program_categories") }}
),

institutions as (
    {{ deduplicated("raw_moodle", "institution") }}
),

named as (
    select
        source,
        program_id,
        min(program_name) as program_name,
        min(university_name) as university_name,
        min(level) as level,
        min(terms_per_year) as terms_per_year,
        min(terms_may_be_missed) as terms_may_be_missed
    from mapped
    group by source, program_id
),

sites as (
    select distinct source
    from {{ ref("int_moodle__courses") }}
    where program_id = 'university' and course_type = 'module'
),

final as (
    select
        *,
        'degree' as program_type
    from named

    union all

    select
        sites.source,
        'university' as program_id,
        coalesce(institutions.institution_name, 'All courses') as program_name,
        institutions.institution_name as university_name,
        null as level,
        null as terms_per_year,
        null as terms_may_be_missed,
        'university' as program_type
    from sites
    left join institutions
        on sites.source = institutions.source
)

{{ canonical_select("final", "programs", absent=["time_zone", "passing_share"]) }}
