{# Learning time from the times of events, where DuckDB and Spark differ. #}

{# Times of a group's events in order, as a list of microseconds; null when no event has a time. An aggregate. #}
{% macro event_times(timestamp) %}
    {{- return(adapter.dispatch("event_times")(timestamp)) -}}
{% endmacro %}

{% macro default__event_times(timestamp) -%}
    list_sort(list(epoch_us({{ timestamp }})) filter (where {{ timestamp }} is not null))
{%- endmacro %}

{% macro spark__event_times(timestamp) -%}
    nullif(array_sort(collect_list(unix_micros({{ timestamp }}))), cast(array() as array<bigint>))
{%- endmacro %}


{# Several of these lists in one, in order, as a window function. #}
{% macro joined_event_times(times, window) %}
    {{- return(adapter.dispatch("joined_event_times")(times, window)) -}}
{% endmacro %}

{% macro default__joined_event_times(times, window) -%}
    list_sort(flatten(list({{ times }}) over {{ window }}))
{%- endmacro %}

{% macro spark__joined_event_times(times, window) -%}
    array_sort(flatten(collect_list({{ times }}) over {{ window }}))
{%- endmacro %}


{#
    Learning time of such a list in seconds: the gaps between neighbours, those above the var
    `learning_idle_cap_minutes` left out; 0 for a single event. A decimal to the microsecond: its sums are exact.
#}
{% macro learning_seconds(times) %}
    {%- set cap = (var("learning_idle_cap_minutes") * 60 * 1000000) | int -%}
    {{- return(adapter.dispatch("learning_seconds")(times, cap)) -}}
{% endmacro %}

{% macro default__learning_seconds(times, cap) -%}
    cast(
        case when {{ times }} is not null then coalesce(
            list_sum(
                list_transform(
                    range(2, len({{ times }}) + 1),
                    lambda place: case
                        when {{ times }}[place] - {{ times }}[place - 1] <= {{ cap }}
                            then {{ times }}[place] - {{ times }}[place - 1]
                        else 0
                    end
                )
            ),
            0
        ) end * cast(0.000001 as decimal(7, 6)) as decimal(18, 6)
    )
{%- endmacro %}

{% macro spark__learning_seconds(times, cap) -%}
    cast(
        aggregate(
            zip_with(
                slice({{ times }}, 2, size({{ times }}) - 1),
                slice({{ times }}, 1, size({{ times }}) - 1),
                (later, earlier) -> case when later - earlier <= {{ cap }} then later - earlier else 0L end
            ),
            0L,
            (total, gap) -> total + gap
        ) * 0.000001 as decimal(18, 6)
    )
{%- endmacro %}
