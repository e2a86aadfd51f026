{#
    Tables that need little memory however large they are: DuckDB computes the model slice by slice and inserts one after
    the other. A model says at its top with `in_slices` how large they are, and with `in_slice` which rows a slice has;
    rows of different slices must have nothing to do with each other. Both are comments to all who run the compiled SQL
    themselves: it is that of all slices at once. Other engines do just that.
#}

{#
    So many slices that each has about so many rows of a relation or subquery, which are counted before the build. The
    var `slices` says their number instead: for tests.
#}
{% macro in_slices(rows, of) -%}
    /* slices of {{ rows }} rows of {{ of }} */
{%- endmacro %}


{# Whether a row belongs to the slice, by a column that all rows with anything in common share. #}
{% macro in_slice(column) -%}
    /* slice by {{ column }} */ true
{%- endmacro %}


{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language="sql", partitioned_by=none, sorted_by=none
) %}
    {%- set count = slice_count(compiled_code) if language == "sql" else 1 -%}
    {{ dbt.duckdb__create_table_as(
        temporary, relation, slice_of(compiled_code, 0, count), language, partitioned_by, sorted_by
    ) }};
    {%- for number in range(1, count) %}
    insert into
    {%- if config.get("contract").enforced and not temporary %}
    {{ relation }} {{ get_column_names() }} ({{ get_select_subquery(slice_of(compiled_code, number, count)) }});
    {%- else %}
    {{ relation.include(database=(not temporary), schema=(not temporary)) }} (
        {{ slice_of(compiled_code, number, count) }}
    );
    {%- endif %}
    {%- endfor %}
{% endmacro %}


{% macro slice_count(sql) %}
    {%- set slices = modules.re.search("/\\* slices of (\\d+) rows of (.*?) \\*/", sql, modules.re.DOTALL) -%}
    {%- if not slices or model.resource_type == "unit_test" -%}
        {%- do return(1) -%}
    {%- endif -%}
    {%- if var("slices", none) is not none -%}
        {%- do return(var("slices")) -%}
    {%- endif -%}
    {%- set rows = run_query("select count(*) from " ~ slices[2]).rows[0][0] -%}
    {%- do return([1, (rows / (slices[1] | int)) | round(0, "ceil") | int] | max) -%}
{% endmacro %}


{% macro slice_of(sql, number, count) %}
    {%- set predicate = "hash(\\1) % " ~ count ~ " = " ~ number -%}
    {%- do return(modules.re.sub("/\\* slice by (\\S+) \\*/ true", predicate, sql) if count > 1 else sql) -%}
{% endmacro %}
