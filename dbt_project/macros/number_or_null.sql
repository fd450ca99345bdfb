{#- The value as a number of the given type; null when it is none (NaN, infinity, out of range). dbt.safe_cast is a plain
    cast on DuckDB and on Spark: one such value would end the run. Both engines know try_cast. -#}
{% macro number_or_null(expression, type) -%}
  try_cast({{ expression }} as {{ type }})
{%- endmacro %}
