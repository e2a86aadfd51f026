{#
    Tables are made in place, in one transaction: it drops what stood there and makes it anew, and whoever reads meanwhile
    reads what stood there. dbt-duckdb makes another table, renames both and drops the first, and asks the catalog for
    every name on the way: a third of what a small table costs.
#}
{% materialization table, adapter="duckdb" %}
    {%- set relation = this.incorporate(type="table") -%}
    {%- set existing = load_cached_relation(this) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set build = create_table_as(False, relation, compiled_code) -%}
    {% call statement("main") %}
        {%- if existing is not none %}
    drop {{ existing.type }} {{ existing }};
        {%- endif %}
    {{ build }}
    {% endcall %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do persist_docs(relation, model) %}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({"relations": [relation]}) }}
{% endmaterialization %}


{#
    Every column that is described has to be there. dbt-duckdb asks the catalog for a table's columns and passes over
    those that it lacks.
#}
{% macro duckdb__alter_column_comment(relation, column_dict) %}
    {%- for name, column in column_dict.items() %}
    comment on column {{ relation }}.{{ adapter.quote(name) }} is {{ duckdb_escape_comment(column["description"]) }};
    {%- endfor %}
{% endmacro %}
