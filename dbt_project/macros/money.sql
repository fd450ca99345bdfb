{#- Money has two decimals; a value that is not an amount (NaN, infinity, a million millions or more) becomes null. Half a cent
    is rounded away from zero, first to six decimals, because 1.005 as a floating-point number is below 1.005. -#}
{% macro to_money(expression) -%}
  {{ number_or_null(number_or_null(expression, 'decimal(18, 6)'), 'decimal(18, 2)') }}
{%- endmacro %}
