{#- Money has two decimals; a number that is no number (NaN, infinity, out of range) becomes null. -#}
{% macro to_money(column) -%}
  {{ dbt.safe_cast(column, 'decimal(18, 2)') }}
{%- endmacro %}
