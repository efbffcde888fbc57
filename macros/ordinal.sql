{#- A rank as English writes it: 1st, 2nd, 3rd, 4th, 11th, 21st. -#}
{% macro ordinal(rank) -%}
{{ rank }} || case
    when {{ rank }} % 100 in (11, 12, 13) then 'th'
    when {{ rank }} % 10 = 1 then 'st'
    when {{ rank }} % 10 = 2 then 'nd'
    when {{ rank }} % 10 = 3 then 'rd'
    else 'th'
end
{%- endmacro %}
