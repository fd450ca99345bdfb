{#- An amount of a shop's currency in the reporting currency, rounded to the cent. -#}
{% macro converted(amount, rate) -%}
  cast({{ amount }} * {{ rate }} as decimal(18, 2))
{%- endmacro %}
