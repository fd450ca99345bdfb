{#- A key that is unique over all sources: the source's name and the source's own number. Null stays null. -#}
{% macro source_key(id, source_name='source_name') -%}
  {{ source_name }} || ':' || {{ id }}
{%- endmacro %}
