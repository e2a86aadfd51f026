{#
    Tables of which a run makes the rows of touched entities only: of a day, say, or of an enrollment. A model tells from
    what these follow by a query with a row an entity: the columns that name it, and inputs_hash. What this was when the
    rows were made stands in schema `fingerprints`, written in the transaction that makes them; entities of which it is
    another now, or of which one side knows nothing, are deleted and inserted. Nothing is taken on trust of what a run
    says it changed, so that one that was cut off is completed by the next.
#}

{# Hook before the model: looks for touched entities and deletes their rows. #}
{% macro find_touched(relation, entity, inputs) %}
    {%- if target.type == "duckdb" %}
    create or replace temporary table {{ relation.identifier }}_inputs as {{ inputs }};
    {%- if is_incremental() %}
    create schema if not exists fingerprints;
    create table if not exists {{ fingerprints_of(relation) }} as from {{ relation.identifier }}_inputs limit 0;
    create or replace temporary table {{ touched_of(relation) }} as
    select
        {%- for column in entity %}
        coalesce(made.{{ column }}, inputs.{{ column }}) as {{ column }}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ fingerprints_of(relation) }} as made
    full outer join {{ relation.identifier }}_inputs as inputs
        on
            {%- for column in entity %}
            {{ "and " if not loop.first }}made.{{ column }} = inputs.{{ column }}
            {%- endfor %}
    where made.inputs_hash is distinct from inputs.inputs_hash;
    delete from {{ relation }} where {{ is_touched(entity, relation) }};
    {%- endif %}
    {%- endif %}
{% endmacro %}


{# Hook after the model: keeps what the rows were made from. #}
{% macro keep_inputs(relation) %}
    {%- if target.type == "duckdb" %}
    create schema if not exists fingerprints;
    create or replace table {{ fingerprints_of(relation) }} as from {{ relation.identifier }}_inputs;
    {%- endif %}
{% endmacro %}


{# Whether a row belongs to a touched entity, or the table is new. #}
{% macro is_touched(entity, relation=none, alias=none) -%}
    {#- A unit test makes all rows, of no table. -#}
    {%- if model.resource_type != "unit_test" and is_incremental() -%}
    {%- set prefix = alias ~ "." if alias else "" -%}
    ({{ prefix }}{{ entity | join(", " ~ prefix) }}) in (
        select touched.{{ entity | join(", touched.") }} from {{ touched_of(relation or this) }} as touched
    )
    {%- else -%}
    true
    {%- endif -%}
{%- endmacro %}


{% macro touched_of(relation) -%}
    touched_of_{{ relation.identifier }}
{%- endmacro %}


{% macro fingerprints_of(relation) -%}
    fingerprints.{{ relation.identifier }}
{%- endmacro %}
