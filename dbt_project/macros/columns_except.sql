{#- All columns of a table in a join, except one. -#}
{% macro columns_except(table, column) -%}
  {{ return(adapter.dispatch('columns_except')(table, column)) }}
{%- endmacro %}

{% macro default__columns_except(table, column) -%}
  {{ table }}.* except ({{ column }})
{%- endmacro %}

{% macro duckdb__columns_except(table, column) -%}
  {{ table }}.* exclude ({{ column }})
{%- endmacro %}
