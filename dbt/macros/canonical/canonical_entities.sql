{# Kinds of course items. #}
{% macro item_kinds() %}
    {% do return([
        "video", "reading", "practice", "quiz", "staff_graded", "peer_graded", "programming", "plugin", "discussion",
        "team", "navigation", "other",
    ]) %}
{% endmacro %}


{# Kinds by which activity is counted, one column each: the item kinds with those joined that learners use alike. #}
{% macro activity_kinds() %}
    {% do return({
        "video": ["video"],
        "reading": ["reading"],
        "practice": ["practice"],
        "quiz": ["quiz"],
        "assignment": ["staff_graded", "peer_graded", "programming"],
        "discussion": ["discussion"],
        "team": ["team"],
        "navigation": ["navigation"],
        "other": ["plugin", "other"],
    }) %}
{% endmacro %}


{# Columns and types of one entity (vars: canonical_entities) in the engine's words, `source` first. #}
{% macro canonical_columns(entity) %}
    {% set entities = var("canonical_entities") %}
    {% if entity not in entities %}
        {% do exceptions.raise_compiler_error(
            "'" ~ entity ~ "' is not a canonical entity. Known: " ~ entities.keys() | join(", ")
            ~ ". They are defined in dbt_project.yml, vars: canonical_entities."
        ) %}
    {% endif %}
    {% set columns = {"source": column_type("varchar")} %}
    {% for name, type in entities[entity].items() %}{% do columns.update({name: column_type(type)}) %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}


{#
    dbt's own check that a model has the columns and types of its YAML. In staging these have to be the entity's besides:
    a model and its YAML that agree on something else would pass, and core would add it up with other contracts' rows.
#}
{% macro default__get_assert_columns_equivalent(sql) %}
    {%- do assert_columns_equivalent(sql) -%}
    {%- if model.fqn[1] == "staging" -%}
        {%- set expected, found = canonical_columns(model.name.split("__")[1]), {} -%}
        {%- for column in model.columns.values() -%}
            {%- do found.update({column.name: column_type(column.data_type)}) -%}
        {%- endfor -%}
        {%- if found != expected -%}
            {%- do exceptions.raise_contract_error(listed_columns(expected), listed_columns(found)) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# Columns and types as dbt's message takes them. #}
{% macro listed_columns(columns) %}
    {% set listed = [] %}
    {% for name, type in columns.items() %}{% do listed.append({"name": name, "data_type": type}) %}{% endfor %}
    {% do return(listed) %}
{% endmacro %}


{#
    The last select of a staging model: all columns of the entity from `relation`, cast. What the source cannot fill is
    named in `absent` and is null; a column that is in neither is an error of the database.
#}
{% macro canonical_select(relation, entity, absent=[]) %}
    {%- set columns = canonical_columns(entity) -%}
    {%- for name in absent if name not in columns -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": '" ~ name ~ "' is named as absent but is not a column of " ~ entity
            ~ ". Columns: " ~ columns.keys() | join(", ")
        ) -%}
    {%- endfor -%}
select
    {%- for name, type in columns.items() %}
    {%- set value = "null" if name in absent else relation ~ "." ~ name %}
    cast({{ value }} as {{ type }}) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from {{ relation }}
{%- endmacro %}


{# All contracts' rows of one entity. A contract that lacks the entity adds nothing; if all do, the relation is empty. #}
{% macro union_contracts(entity, where=none) %}
    {%- set columns = canonical_columns(entity) -%}
    {%- set carrying = [] -%}
    {%- for contract in var("contracts") if entity not in var("absent_entities").get(contract, []) -%}
        {%- do carrying.append(contract) -%}
    {%- endfor -%}
    {%- for contract in carrying %}
    select {{ columns.keys() | join(", ") }}
    from {{ ref("stg_" ~ contract ~ "__" ~ entity) }}
    {%- if where %}
    where {{ where }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- else %}
    select
        {%- for name, type in columns.items() %}
        cast(null as {{ type }}) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    where false
    {%- endfor %}
{%- endmacro %}


{# The click columns of the activity table, one per kind. #}
{% macro activity_click_columns() %}
    {% set columns = [] %}
    {% for kind in activity_kinds() %}{% do columns.append(kind ~ "_click_count") %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}


{# Columns of the activity table that count the events of one type, and that type. #}
{% macro counted_event_types() %}
    {% do return({
        "task_count": "item_completed",
        "forum_view_count": "forum_view",
        "forum_thread_count": "forum_thread",
        "forum_reply_count": "forum_reply",
    }) %}
{% endmacro %}


{#
    Columns that mark, of several rows of a learner's day that became known one after the other, the first with something:
    counting these rows counts days, whatever was known when. With the condition on the day's row.
#}
{% macro first_known_flags() %}
    {% do return({
        "is_first_known": "event_count > 0",
        "is_first_task_known": "task_count > 0",
        "is_first_forum_known": "forum_view_count + forum_thread_count + forum_reply_count > 0",
        "is_first_posting_known": "forum_thread_count + forum_reply_count > 0",
    }) %}
{% endmacro %}


{# What the activity table tells of a learner's day beside its keys and dates. #}
{% macro activity_measures() %}
    {% do return(
        first_known_flags().keys() | list + ["event_count", "click_count"] + activity_click_columns()
        + counted_event_types().keys() | list + ["learning_seconds"]
    ) %}
{% endmacro %}
