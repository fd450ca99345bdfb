{#- Whole days from the first date to the second. -#}
{% macro days_between(first_date, second_date) -%}
  {{ dbt.datediff(first_date, second_date, 'day') | trim }}
{%- endmacro %}
