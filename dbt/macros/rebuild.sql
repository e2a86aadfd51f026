{#
    The var `rebuild` says which dates of which sources a run computes anew:
        {"<source>": {"from": "2014-02-01", "to": "2014-02-28", "dates": ["2013-12-24"]}}
    A range, single dates, or both. Sources that are not named stay as they are; {} touches nothing; without the var
    every date of every source is; with --full-refresh the tables are made anew, columns included. The predicate has
    literal dates only: anything else would read every partition of raw.
#}
{% macro rebuild_predicate(date_column) %}
    {%- set rebuild = var("rebuild", none) -%}
    {%- if rebuild is none -%}
        {%- do return("true") -%}
    {%- endif -%}
    {%- set sources = [] -%}
    {%- for source, window in rebuild.items() -%}
        {%- set unknown = window.keys() | reject("in", ["from", "to", "dates"]) | list -%}
        {%- if unknown or (window.get("from") is none) != (window.get("to") is none) -%}
            {%- do exceptions.raise_compiler_error(
                "rebuild." ~ source ~ " is " ~ window ~ ". Expected: {from: date, to: date}, {dates: [date, …]} or both."
            ) -%}
        {%- endif -%}
        {%- set spans = [] -%}
        {%- if window.get("from") is not none -%}
            {%- do spans.append(
                date_column ~ " between " ~ date_literal(window["from"]) ~ " and " ~ date_literal(window["to"])
            ) -%}
        {%- endif -%}
        {%- if window.get("dates") -%}
            {%- set literals = [] -%}
            {%- for day in window["dates"] -%}{%- do literals.append(date_literal(day)) -%}{%- endfor -%}
            {%- do spans.append(date_column ~ " in (" ~ literals | join(", ") ~ ")") -%}
        {%- endif -%}
        {%- if spans -%}
            {%- do sources.append(
                "(source = '" ~ source | replace("'", "''") ~ "' and (" ~ spans | join(" or ") ~ "))"
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return("(" ~ sources | join(" or ") ~ ")" if sources else "false") -%}
{% endmacro %}


{# A date from outside (a var) as a SQL literal; anything but YYYY-MM-DD is refused. #}
{% macro date_literal(day) %}
    {%- set text = day | string -%}
    {%- if not modules.re.match("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", text) -%}
        {%- do exceptions.raise_compiler_error("'" ~ text ~ "' is not a date. Expected: YYYY-MM-DD.") -%}
    {%- endif -%}
    {%- do return("date '" ~ text ~ "'") -%}
{% endmacro %}


{#
    Dates that int_events_summarized computes anew: those of the var, those with events of an item that was unknown and
    has arrived, and those of programs that have another time zone now. They are looked up now, so that all are literals.
#}
{% macro dates_to_rebuild(date_column) %}
    {%- set named = rebuild_predicate(date_column) -%}
    {%- if not (execute and is_incremental()) or flags.WHICH not in ["run", "build"] -%}
        {%- do return(named) -%}
    {%- endif -%}
    {%- set arrived = run_query(
        "select distinct events.source, cast(events.occurred_on as " ~ dbt.type_string() ~ ") from " ~ this ~ " as events"
        ~ " inner join " ~ ref("int_course_items_offered") ~ " as items"
        ~ " on events.course_offering_key = items.course_offering_key and events.missing_item_id = items.item_id"
        ~ " where items.missing_reference is null"
        ~ " union select events.source, cast(events.occurred_on as " ~ dbt.type_string() ~ ") from " ~ this ~ " as events"
        ~ " inner join " ~ ref("int_courses_zoned") ~ " as courses"
        ~ " on events.course_key = courses.course_key and events.time_zone <> courses.time_zone"
        ~ " order by 1, 2"
    ) -%}
    {%- set predicates = [named] -%}
    {%- for row in arrived.rows -%}
        {%- do predicates.append(
            "(source = '" ~ row[0] | replace("'", "''") ~ "' and " ~ date_column ~ " = " ~ date_literal(row[1]) ~ ")"
        ) -%}
    {%- endfor -%}
    {%- do return("(" ~ predicates | join(" or ") ~ ")") -%}
{% endmacro %}


{% macro delete_dates_to_rebuild(relation) %}
    {%- if is_incremental() -%}
        delete from {{ relation }} where {{ dates_to_rebuild("occurred_on") }}
    {%- endif -%}
{% endmacro %}
