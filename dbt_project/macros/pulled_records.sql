{#- The rows of a raw table, with is_held: whether their delivery waits because the shop is held. For a staging model that
    compares versions of a record: one that waits replaces none that does not. -#}
{% macro raw_rows(source_name, table) -%}
  select
    landed.*,
    coalesce(deliveries.is_held, false) as is_held
  from {{ source(source_name, table) }} as landed
  left join {{ ref('int_deliveries') }} as deliveries
    on
      deliveries.source_name = '{{ source_name }}'
      and deliveries.table_name = '{{ table }}'
      and landed._delivery = deliveries.delivery
      and landed._dlt_load_id = deliveries.load_id
{%- endmacro %}

{#- Whether a row of a source that is pulled belongs to an older version of its record, such as an order with all its lines: the
    record came again in a later load, or later in the same pull. For the rows of raw_rows(...), because a version that waits
    replaces none.

    key: the column, or the list of columns, that names a record.
    record_number: the column that orders the versions within one pull of an API; none for a database, where a pull has one. -#}
{% macro is_superseded_record(key, record_number='_record_number') -%}
  {%- set keys = [key] if key is string else key -%}
  rank() over (
    partition by {{ keys | join(', ') }}, is_held
    order by _dlt_load_id desc{% if record_number %}, {{ record_number }} desc{% endif %}
  ) > 1
{%- endmacro %}

{#- All rows of a raw table that is pulled from a database, with `set_aside_reason`: why a row no longer counts.

    superseded_version: a newer version of its key was pulled.
    deleted: it is no longer in the database. How that is known is for each table to say:
      whole: the table is pulled whole each time (without a cursor), so the newest pull has all that there is.
      key_sweep: its deletions are known from <table>_keys, which has all keys (deleted_by=KeySweep()).
      deleted_when: the condition by which the shop itself marks a deleted row, such as 'deleted_at is not null'.

    key: the column, or the list of columns, that names a row of the database.

    What waits because the shop is held neither replaces nor deletes a row. -#}
{% macro pulled_rows(source_name, table, key, whole=false, key_sweep=false, deleted_when=none) -%}
  {%- set keys = [key] if key is string else key %}
  select
    versions.*,
    cast(
      case
        when versions.is_superseded_record then 'superseded_version'
        {%- if whole %}
        when versions._dlt_load_id < {{ newest_load_id(source_name, table) }} then 'deleted'
        {%- endif %}
        {%- if key_sweep %}
        -- A sweep does not know the rows that were pulled after it.
        when
          newest_keys.{{ keys[0] }} is null
          and versions._dlt_load_id <= {{ newest_load_id(source_name, table ~ '_keys') }}
          then 'deleted'
        {%- endif %}
        {%- if deleted_when %}
        when {{ deleted_when }} then 'deleted'
        {%- endif %}
      end as {{ dbt.type_string() }}
    ) as set_aside_reason
  from (
    select
      *,
      {{ is_superseded_record(keys, record_number=none) }} as is_superseded_record
    from ({{ raw_rows(source_name, table) }}) as landed
  ) as versions
  {%- if key_sweep %}
  left join (
    select distinct {{ keys | join(', ') }}
    from {{ source(source_name, table ~ '_keys') }}
    where _dlt_load_id = {{ newest_load_id(source_name, table ~ '_keys') }}
  ) as newest_keys
    on
      {%- for column in keys %}
      {% if not loop.first %}and {% endif %}versions.{{ column }} = newest_keys.{{ column }}
      {%- endfor %}
  {%- endif %}
{%- endmacro %}

{#- The newest load of a raw table that does not wait, as a query in parentheses; a load that brought no row is one too. -#}
{% macro newest_load_id(source_name, table) -%}
  (
    select max(deliveries.load_id)
    from {{ ref('int_deliveries') }} as deliveries
    where
      deliveries.source_name = '{{ source_name }}'
      and deliveries.table_name = '{{ table }}'
      and not deliveries.is_held
  )
{%- endmacro %}

{#- A time in UTC as the shop's clock showed it, for example in Europe/Berlin. has_zone: its type is timestamp with time zone. -#}
{% macro shop_time(expression, time_zone, has_zone=false) -%}
  {{ return(adapter.dispatch('shop_time')(expression, time_zone, has_zone)) }}
{%- endmacro %}

{% macro default__shop_time(expression, time_zone, has_zone) -%}
  {{ expression }}{% if not has_zone %} at time zone 'UTC'{% endif %} at time zone '{{ time_zone }}'
{%- endmacro %}

{% macro spark__shop_time(expression, time_zone, has_zone) -%}
  from_utc_timestamp({{ expression }}, '{{ time_zone }}')
{%- endmacro %}
