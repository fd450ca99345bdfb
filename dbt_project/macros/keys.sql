{#- A key that is unique over all sources: the source's name and the source's own number. Null stays null. -#}
{% macro source_key(id, source_name='source_name') -%}
  {{ source_name }} || ':' || {{ id }}
{%- endmacro %}

{#- The source's own number back from such a key. -#}
{% macro id_of_key(key, source_name='source_name') -%}
  substr({{ key }}, length({{ source_name }}) + 2)
{%- endmacro %}
