{#- The raw tables that every source has; each becomes a staging model of the same shape. -#}
{% macro raw_tables() -%}
  {{ return(['customers', 'products', 'purchases']) }}
{%- endmacro %}

{#- One row per active source and raw table. -#}
{% macro active_raw_tables() -%}
  {%- for name in var('sources') %}
  {%- set is_last_source = loop.last %}
  {%- for table in raw_tables() %}
  select
    '{{ name }}' as source_name,
    '{{ table }}' as table_name
  {%- if not (loop.last and is_last_source) %}
  union all
  {%- endif %}
  {%- endfor %}
  {%- endfor %}
{%- endmacro %}

{#- The rows of one staging shape from all active sources. -#}
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
  {%- for table in raw_tables() %}
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

{#- The ledgers of all active sources: one row per landed file and version ever loaded. -#}
{% macro raw_deliveries() -%}
  {%- for name in var('sources') %}
  select
    cast('{{ name }}' as {{ dbt.type_string() }}) as source_name,
    cast(table_name as {{ dbt.type_string() }}) as table_name,
    cast(landed_file as {{ dbt.type_string() }}) as landed_file,
    cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id,
    cast(row_count as bigint) as row_count,
    cast(delivered_at as timestamp) as delivered_at
  from {{ source(name, 'deliveries') }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}
