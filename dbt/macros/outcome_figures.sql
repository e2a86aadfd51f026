{#
    How courses ended, of rows of mart_learner_course. Aggregates. Shares are of outcomes that are final: of a course
    that goes on, only those who have left are known. Courses taken at any time have completions and no other outcomes.
#}
{% macro outcome_figures() -%}
    count(*) filter (where not is_self_paced and is_outcome_final) as final_outcome_count,
        count(*) filter (where outcome_state in ('running', 'not_told')) as running_count,
        {{ share_of("is_passed") }} filter (where not is_self_paced and is_outcome_final) as passed_share,
        {{ share_of("is_withdrawn") }} filter (where not is_self_paced and is_outcome_final) as withdrawn_share,
        count(*) filter (where is_completed) as completed_count,
        count(*) filter (where not is_completed) as not_completed_count,
        {{ share_of("is_completed") }} as completed_share
{%- endmacro %}
