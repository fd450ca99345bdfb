{#- The rows of one staging shape from all active sources, one below the other. -#}
{% macro union_sources(shape) -%}
  {%- for name in var('sources') %}
  select * from {{ ref('stg_' ~ name ~ '__' ~ shape) }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- One row per active source and raw table, with the number of its rows. -#}
{% macro raw_row_counts() -%}
  {%- for name in var('sources') %}
  {%- set is_last_source = loop.last %}
  {%- for table in ['customers', 'products', 'purchases'] %}
  select
    '{{ name }}' as source_name,
    '{{ table }}' as table_name,
    count(*) as row_count
  from {{ source(name, table) }}
  {%- if not (loop.last and is_last_source) %}
  union all
  {%- endif %}
  {%- endfor %}
  {%- endfor %}
{%- endmacro %}
