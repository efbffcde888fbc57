{#- Whether a text holds something other than blanks, tabs and line breaks. -#}
{% macro is_not_blank(text) -%}
btrim(coalesce({{ text }}, ''), E' \t\r\n') <> ''
{%- endmacro %}
