{#
    Rows of mart_learner_course_week from the first week on that is gone or has other inputs than those it was built from:
    what is left of an offering are its first weeks, and those to build are the rest.
#}
{% macro delete_stale_weeks(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }}
        using (
            select
                built.course_offering_key,
                min(built.week_number) as week_number
            from (select distinct course_offering_key, week_number, inputs_hash from {{ relation }}) as built
            left join {{ ref("mart_course_week") }} as weeks
                on
                    built.course_offering_key = weeks.course_offering_key
                    and built.week_number = weeks.week_number
                    and built.inputs_hash = weeks.inputs_hash
            where weeks.course_offering_key is null
            group by built.course_offering_key
        ) as stale
        where
            {{ relation }}.course_offering_key = stale.course_offering_key
            and {{ relation }}.week_number >= stale.week_number
    {%- endif -%}
{% endmacro %}
