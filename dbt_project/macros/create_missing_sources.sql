{#- Creates the tables of the sources with `meta: {created_when_missing: true}` that are not there yet, empty, with the
    columns and types that their yml declares: so dbt can run alone, before anything has written them. Columns that a
    table of an older version lacks are added, null, until the program that writes the table has written it again. -#}
{% macro create_missing_sources() -%}
  {%- if execute %}
  {%- for node in graph.sources.values() if node.config.meta.get('created_when_missing') %}
  {%- set relation = adapter.get_relation(node.database, node.schema, node.identifier) %}
  {%- if relation is none %}
  {%- set relation = api.Relation.create(node.database, node.schema, node.identifier) %}
  {%- do adapter.create_schema(relation) %}
  {%- do run_query(create_empty_table(relation, node.columns.values())) %}
  {%- else %}
  {%- do add_missing_columns(relation, node.columns.values()) %}
  {%- endif %}
  {%- endfor %}
  {%- endif %}
{%- endmacro %}

{% macro add_missing_columns(relation, columns) -%}
  {%- set there = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list %}
  {%- set missing = [] %}
  {%- for column in columns if column.name | lower not in there %}
  {%- do missing.append(api.Column.create(column.name, column.data_type)) %}
  {%- endfor %}
  {%- if missing %}
  {%- do alter_relation_add_remove_columns(relation, missing, none) %}
  {#- Reading the columns began a transaction, which is rolled back when the hook ends. #}
  {%- do adapter.commit() %}
  {%- endif %}
{%- endmacro %}

{% macro create_empty_table(relation, columns) -%}
create table {{ relation }} (
  {%- for column in columns %}
  {{ adapter.quote(column.name) }} {{ api.Column.translate_type(column.data_type) }}
  {%- if not loop.last %},{% endif %}
  {%- endfor %}
)
{%- endmacro %}
