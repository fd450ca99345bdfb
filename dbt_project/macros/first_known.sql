{#- Of a group's values that are not null, the one whose position is the smallest. -#}
{% macro first_known(column, position) -%}
  min_by({{ column }}, case when {{ column }} is not null then {{ position }} end)
{%- endmacro %}
