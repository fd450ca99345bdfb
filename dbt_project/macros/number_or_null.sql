{#- The value as a number of the given type; null when it is not one (NaN, infinity, out of range). dbt.safe_cast is a plain
    cast on DuckDB and on Spark, so that one such value would fail the run; both engines have try_cast. -#}
{% macro number_or_null(expression, type) -%}
  try_cast({{ expression }} as {{ type }})
{%- endmacro %}
