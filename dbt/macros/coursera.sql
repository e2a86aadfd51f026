{# What Coursera's export keeps in words and numbers of its own. #}

{# Kind of an item by the category of its type, in lower case without blanks. #}
{% macro coursera_item_kind(category, is_graded) -%}
    case
        when {{ category }} in ('lecture', 'video') then 'video'
        when {{ category }} in ('supplement', 'slideshow', 'reading') then 'reading'
        when {{ category }} in ('quiz', 'exam') then case when {{ is_graded }} then 'quiz' else 'practice' end
        when {{ category }} like '%peer%' then 'peer_graded'
        when {{ category }} like '%staffgraded%' then 'staff_graded'
        when {{ category }} like '%programming%' or {{ category }} like '%notebook%' then 'programming'
        when {{ category }} like '%discussion%' then 'discussion'
        when {{ category }} like '%lti%' or {{ category }} like '%widget%' then 'plugin'
        when {{ category }} like '%team%' then 'team'
        else 'other'
    end
{%- endmacro %}


{# Base and version of an id such as `dYJ3@5`. #}
{% macro coursera_base(id) -%}
    split_part({{ id }}, '@', 1)
{%- endmacro %}

{% macro coursera_version(id) -%}
    coalesce({{ dbt.safe_cast("split_part(" ~ id ~ ", '@', 2)", "integer") }}, 1)
{%- endmacro %}


{#
    The item of each quiz or assignment, by version of the course where it has any: source, the id, course_id, item_id.
    One that stands at several items of a course counts for the first by id.
#}
{% macro coursera_items_of(id, of_branches, of_courses) -%}
    select
        source,
        {{ id }},
        min(course_id) as course_id,
        min_by(course_item_id, course_id || ' ' || course_item_id) as item_id
    from (
        select
            of_versions.source,
            of_versions.{{ id }},
            versions.course_id,
            of_versions.course_item_id
        from {{ source("raw_coursera", of_branches) }} as of_versions
        inner join {{ source("raw_coursera", "course_branches") }} as versions
            on
                of_versions.source = versions.source
                and of_versions.course_branch_id = versions.course_branch_id

        union

        select
            source,
            {{ id }},
            course_id,
            course_item_id
        from {{ source("raw_coursera", of_courses) }}
    ) as placed
    group by source, {{ id }}
{%- endmacro %}
