{#- Money has two decimals; a number that is no number (NaN, infinity, a million millions or more) becomes null. Half a cent is rounded
    away from zero, as on paper: by way of six decimals, for 1.005 as a floating-point number lies below 1.005. -#}
{% macro to_money(expression) -%}
  {{ number_or_null(number_or_null(expression, 'decimal(18, 6)'), 'decimal(18, 2)') }}
{%- endmacro %}
