{# Date arithmetic, where DuckDB and Spark differ. All arguments are SQL expressions. #}

{# Days from one date to another, as an integer. #}
{% macro days_between(from_date, to_date) %}
    {{- return(adapter.dispatch("days_between")(from_date, to_date)) -}}
{% endmacro %}

{% macro default__days_between(from_date, to_date) -%}
    cast({{ to_date }} - {{ from_date }} as integer)
{%- endmacro %}

{% macro spark__days_between(from_date, to_date) -%}
    datediff({{ to_date }}, {{ from_date }})
{%- endmacro %}


{# A date some days later. #}
{% macro add_days(date, days) %}
    {{- return(adapter.dispatch("add_days")(date, days)) -}}
{% endmacro %}

{% macro default__add_days(date, days) -%}
    ({{ date }} + cast({{ days }} as integer))
{%- endmacro %}

{% macro spark__add_days(date, days) -%}
    date_add({{ date }}, cast({{ days }} as int))
{%- endmacro %}


{# The same date a year later. #}
{% macro add_year(date) %}
    {{- return(adapter.dispatch("add_year")(date)) -}}
{% endmacro %}

{% macro default__add_year(date) -%}
    cast({{ date }} + interval 1 year as date)
{%- endmacro %}

{% macro spark__add_year(date) -%}
    add_months({{ date }}, 12)
{%- endmacro %}


{# Day of the week, Monday 1 to Sunday 7. #}
{% macro iso_day_of_week(date) %}
    {{- return(adapter.dispatch("iso_day_of_week")(date)) -}}
{% endmacro %}

{% macro default__iso_day_of_week(date) -%}
    cast(isodow({{ date }}) as integer)
{%- endmacro %}

{% macro spark__iso_day_of_week(date) -%}
    (weekday({{ date }}) + 1)
{%- endmacro %}


{# ISO week and the year it belongs to. #}
{% macro iso_year(date) %}
    {{- return(adapter.dispatch("iso_year")(date)) -}}
{% endmacro %}

{% macro default__iso_year(date) -%}
    cast(isoyear({{ date }}) as integer)
{%- endmacro %}

{% macro spark__iso_year(date) -%}
    cast(extract(yearofweek from {{ date }}) as int)
{%- endmacro %}


{# Year and month of a date as text, YYYY-MM. #}
{% macro year_month(date) %}
    {{- return(adapter.dispatch("year_month")(date)) -}}
{% endmacro %}

{% macro default__year_month(date) -%}
    strftime({{ date }}, '%Y-%m')
{%- endmacro %}

{% macro spark__year_month(date) -%}
    date_format({{ date }}, 'yyyy-MM')
{%- endmacro %}


{# Name of the day or month. #}
{% macro day_name(date) %}
    {{- return(adapter.dispatch("day_name")(date)) -}}
{% endmacro %}

{% macro default__day_name(date) -%}
    dayname({{ date }})
{%- endmacro %}

{% macro spark__day_name(date) -%}
    date_format({{ date }}, 'EEEE')
{%- endmacro %}


{% macro month_name(date) %}
    {{- return(adapter.dispatch("month_name")(date)) -}}
{% endmacro %}

{% macro default__month_name(date) -%}
    monthname({{ date }})
{%- endmacro %}

{% macro spark__month_name(date) -%}
    date_format({{ date }}, 'MMMM')
{%- endmacro %}


{# Every integer from one number to another, as rows of `alias`(`column`), to be used after `cross join` or `from`. #}
{% macro integers_between(first, last, alias, column) %}
    {{- return(adapter.dispatch("integers_between")(first, last, alias, column)) -}}
{% endmacro %}

{% macro default__integers_between(first, last, alias, column) -%}
    unnest(generate_series({{ first }}, {{ last }})) as {{ alias }} ({{ column }})
{%- endmacro %}

{% macro spark__integers_between(first, last, alias, column) -%}
    lateral explode(sequence({{ first }}, {{ last }})) as {{ alias }} ({{ column }})
{%- endmacro %}


{# The day in a time zone (a column of IANA names) at a moment given as UTC; null where either is. #}
{% macro local_date(moment, time_zone) %}
    {{- return(adapter.dispatch("local_date")(moment, time_zone)) -}}
{% endmacro %}

{% macro default__local_date(moment, time_zone) -%}
    case
        when {{ time_zone }} = 'UTC' then cast({{ moment }} as date)
        else cast(timezone({{ time_zone }}, timezone('UTC', {{ moment }})) as date)
    end
{%- endmacro %}

{% macro spark__local_date(moment, time_zone) -%}
    cast(convert_timezone('UTC', {{ time_zone }}, {{ moment }}) as date)
{%- endmacro %}


{# The moment, UTC, at which a day begins in a time zone. #}
{% macro day_begins_at(date, time_zone) %}
    {{- return(adapter.dispatch("day_begins_at")(date, time_zone)) -}}
{% endmacro %}

{% macro default__day_begins_at(date, time_zone) -%}
    case
        when {{ time_zone }} = 'UTC' then cast({{ date }} as timestamp)
        else timezone('UTC', timezone({{ time_zone }}, cast({{ date }} as timestamp)))
    end
{%- endmacro %}

{% macro spark__day_begins_at(date, time_zone) -%}
    convert_timezone({{ time_zone }}, 'UTC', cast({{ date }} as timestamp_ntz))
{%- endmacro %}


{# Condition: the engine knows the time zone by this name. #}
{% macro is_time_zone(name) %}
    {{- return(adapter.dispatch("is_time_zone")(name)) -}}
{% endmacro %}

{% macro default__is_time_zone(name) -%}
    {{ name }} in (select zones.name from pg_timezone_names() as zones)
{%- endmacro %}

{# Spark has no list of them. #}
{% macro spark__is_time_zone(name) -%}
    {{ name }} is not null
{%- endmacro %}


{# The day, UTC, on which the warehouse is built: by the clock of the runs, else by that of the machine. #}
{% macro today() -%}
    {{ date_literal(var("today", run_started_at.strftime("%Y-%m-%d"))) }}
{%- endmacro %}
