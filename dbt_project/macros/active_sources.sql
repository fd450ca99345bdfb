{#- The rows of one staging shape from all active sources, one below the other. -#}
{% macro union_sources(shape) -%}
  {%- for name in var('sources') %}
  select * from {{ ref('stg_' ~ name ~ '__' ~ shape) }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}
