{#- Whether an instant is in the window of layer 3, which is half-open: an action on its start counts,
    one on its end does not. -#}
{% macro in_layer3_window(instant) -%}
{{ instant }} >= '{{ run_started_at }}'::timestamptz
    - interval '1 hour' * ({{ var('lookback_hours') }} - {{ var('cooling_hours') }})
    and {{ instant }} < '{{ run_started_at }}'::timestamptz
    - interval '1 hour' * {{ var('cooling_hours') }}
{%- endmacro %}
