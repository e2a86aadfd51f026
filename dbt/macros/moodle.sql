{# What several staging models of Moodle share. #}

{# Condition: the role is a learner's. Sites that lost the archetype still have the names. #}
{% macro moodle_is_learner_role(role) -%}
    coalesce(
        {{ role }}.archetype = 'student',
        lower({{ role }}.shortname) = 'student',
        false
    ) or ({{ role }}.archetype is null and coalesce(lower({{ role }}.name) = 'student', false))
{%- endmacro %}


{# Last day of what ends at a moment: midnight belongs to the day before. #}
{% macro moodle_last_day(moment, time_zone) -%}
    {{ local_date(moment ~ " - interval 1 second", time_zone) }}
{%- endmacro %}


{# Items are numbered by kind: the kind's name before the number keeps a quiz from meeting an assignment. #}
{% macro moodle_item(module, instance) -%}
    {{ module }} || '-' || {{ instance }}
{%- endmacro %}
