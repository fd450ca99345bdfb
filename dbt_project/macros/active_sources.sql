{#- The shapes that a source is staged in: the usual three, unless the variable shapes says otherwise. A raw table of the same
    name feeds each of them, where the shop sends one. -#}
{% macro shapes(source_name) -%}
  {{ return(var('shapes').get(source_name, ['customers', 'products', 'purchases'])) }}
{%- endmacro %}

{#- The active sources that are staged in a shape. -#}
{% macro sources_with(shape) -%}
  {%- set found = [] %}
  {%- for name in var('sources') if shape in shapes(name) %}
  {%- do found.append(name) %}
  {%- endfor %}
  {{ return(found) }}
{%- endmacro %}

{#- The raw tables of a source that its yml declares, of those that feed a shape: a shop without a customer or product file has
    fewer than three. dbt knows them once it has parsed the project, so the list is empty while it parses. A unit test does not
    know them: there, each shape has its raw table. -#}
{% macro raw_tables(source_name) -%}
  {%- set found = [] %}
  {%- if execute and 'sources' not in graph %}
  {%- do found.extend(shapes(source_name)) %}
  {%- elif execute %}
  {%- for shape in shapes(source_name) %}
  {%- for node in graph.sources.values() if node.source_name == source_name and node.name == shape %}
  {%- do found.append(shape) %}
  {%- endfor %}
  {%- endfor %}
  {%- endif %}
  {{ return(found) }}
{%- endmacro %}

{#- The active sources that send no such raw table: its rows are derived from other tables in staging. -#}
{% macro sources_without(table) -%}
  {%- set found = [] %}
  {%- for name in var('sources') if execute and table not in raw_tables(name) %}
  {%- do found.append(name) %}
  {%- endfor %}
  {{ return(found) }}
{%- endmacro %}

{#- Whether a row's source sends no such raw table. -#}
{% macro is_derived(table, source_name='source_name') -%}
  {%- set without = sources_without(table) -%}
  {{ return(source_name ~ " in ('" ~ without | join("', '") ~ "')" if without else 'false') }}
{%- endmacro %}

{#- One row per active source. -#}
{% macro active_sources() -%}
  {%- for name in var('sources') %}
  select cast('{{ name }}' as {{ dbt.type_string() }}) as source_name
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- One row per active source and raw table. -#}
{% macro active_raw_tables() -%}
  {%- set found = [] %}
  {%- for name in var('sources') %}
  {%- for table in raw_tables(name) %}
  {%- do found.append((name, table)) %}
  {%- endfor %}
  {%- endfor %}
  {%- for name, table in found %}
  select
    '{{ name }}' as source_name,
    '{{ table }}' as table_name
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- The rows of one staging shape from all active sources that have it. The columns of the shape are those of the model that
    calls this, as its yml lists them. A staging model may leave out what its shop does not send: that is null. -#}
{% macro union_sources(shape) -%}
  {%- set columns = model.columns.values() | list %}
  {%- for name in sources_with(shape) %}
  {%- set staging = ref('stg_' ~ name ~ '__' ~ shape) %}
  {%- set sent = staged_columns(staging.identifier, columns) %}
  select
  {%- for column in columns %}
    {% if column.name in sent %}{{ column.name }}{% else %}{{ null_of(column) }}{% endif %}
    {%- if not loop.last %},{% endif %}
  {%- endfor %}
  from {{ staging }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- else %}
  select
  {%- for column in columns %}
    {{ null_of(column) }}
    {%- if not loop.last %},{% endif %}
  {%- endfor %}
  where 1 = 0
  {%- endfor %}
{%- endmacro %}

{% macro null_of(column) -%}
  cast(null as {{ api.Column.translate_type(column.data_type) }}) as {{ column.name }}
{%- endmacro %}

{#- The columns of a staging model, which its contract fixes. One that its shape does not have would be lost. -#}
{% macro staged_columns(identifier, columns) -%}
  {%- set sent = [] %}
  {%- if execute %}
  {%- do sent.extend(graph.nodes['model.' ~ project_name ~ '.' ~ identifier].columns) %}
  {%- set known = columns | map(attribute='name') | list %}
  {%- for name in sent if name not in known %}
  {%- do exceptions.raise_compiler_error(
      identifier ~ ': the column ' ~ name ~ ' is not one of ' ~ model.name ~ ' (' ~ known | join(', ')
      ~ '), and would be lost. Rename or remove it, or add it to the yml of ' ~ model.name) %}
  {%- endfor %}
  {%- endif %}
  {{ return(sent) }}
{%- endmacro %}

{#- The staged rows of one shape, with what is known of their deliveries. Rows of a delivery that waits are set aside. -#}
{% macro delivered_rows(shape) -%}
  select
    {{ columns_except('delivered_rows', 'set_aside_reason') }},
    case when deliveries.is_held then 'held_delivery' else delivered_rows.set_aside_reason end as set_aside_reason,
    deliveries.delivered_at,
    coalesce(deliveries.is_superseded, false) as is_superseded
  from {{ ref('int_staged_' ~ shape) }} as delivered_rows
  left join {{ ref('int_deliveries') }} as deliveries
    on
      deliveries.table_name = '{{ shape }}'
      and delivered_rows.source_name = deliveries.source_name
      and delivered_rows.delivery = deliveries.delivery
      and delivered_rows.load_id = deliveries.load_id
{%- endmacro %}

{#- Whether the yml of a source declares a table of rows in quarantine. dbt knows it when it runs; while it parses, and in unit
    tests, none does. -#}
{% macro has_quarantine(source_name) -%}
  {%- set found = [] %}
  {%- for node in (graph.sources or {}).values() if node.source_name == source_name and node.name == 'quarantine' %}
  {%- do found.append(node.name) %}
  {%- endfor %}
  {{ return(found != []) }}
{%- endmacro %}

{#- The rows in quarantine of all active sources that declare one, of the raw tables that feed a shape. In dbt's graph the staging
    models stand for them, as they do below for the raw tables. -#}
{% macro raw_quarantine() -%}
  {%- for name in var('sources') %}
  {%- for shape in shapes(name) %}
  {%- do ref('stg_' ~ name ~ '__' ~ shape) %}
  {%- endfor %}
  {%- endfor %}
  {%- for name in var('sources') if execute and has_quarantine(name) %}
  select
    cast('{{ name }}' as {{ dbt.type_string() }}) as source_name,
    cast(table_name as {{ dbt.type_string() }}) as table_name,
    cast(_delivery as {{ dbt.type_string() }}) as delivery,
    cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id,
    cast(line as bigint) as line
  from {{ source(name, 'quarantine') }}
  where table_name in ('{{ raw_tables(name) | join("', '") }}')
  union all
  {%- endfor %}
  {#- Of sources without one. #}
  select
    cast(null as {{ dbt.type_string() }}) as source_name,
    cast(null as {{ dbt.type_string() }}) as table_name,
    cast(null as {{ dbt.type_string() }}) as delivery,
    cast(null as {{ dbt.type_string() }}) as load_id,
    cast(null as bigint) as line
  where 1 = 0
{%- endmacro %}

{#- One row per active source and raw table, with the number of its rows. Which raw tables there are is not known while dbt
    parses, so the staging models stand for them in dbt's graph: each reads the raw table of its shape. -#}
{% macro raw_row_counts() -%}
  {%- set found = [] %}
  {%- for name in var('sources') %}
  {%- for shape in shapes(name) %}
  {%- do ref('stg_' ~ name ~ '__' ~ shape) %}
  {%- endfor %}
  {%- for table in raw_tables(name) %}
  {%- do found.append((name, table)) %}
  {%- endfor %}
  {%- endfor %}
  {%- for name, table in found %}
  select
    '{{ name }}' as source_name,
    '{{ table }}' as table_name,
    count(*)
    {%- if has_quarantine(name) %}
    + (select count(*) from {{ source(name, 'quarantine') }} where table_name = '{{ table }}')
    {%- endif %} as row_count
  from {{ source(name, table) }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- The ledgers of all active sources: one row per delivery and version of it ever loaded. -#}
{% macro raw_deliveries() -%}
  {%- for name in var('sources') %}
  select
    cast('{{ name }}' as {{ dbt.type_string() }}) as source_name,
    cast(table_name as {{ dbt.type_string() }}) as table_name,
    cast(delivery as {{ dbt.type_string() }}) as delivery,
    cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id,
    cast(row_count as bigint) as row_count,
    cast(delivered_at as timestamp) as delivered_at
  from {{ source(name, 'deliveries') }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- The active sources whose returns take back an earlier purchase, as their yml says in `meta: {returns_cancel_purchases: true}`. -#}
{% macro sources_that_cancel() -%}
  {%- set found = [] %}
  {%- for node in (graph.sources or {}).values() if node.config.meta.get('returns_cancel_purchases') %}
  {%- if node.source_name not in found %}
  {%- do found.append(node.source_name) %}
  {%- endif %}
  {%- endfor %}
  {{ return(found | sort) }}
{%- endmacro %}
