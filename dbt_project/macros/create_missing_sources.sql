{#- Creates the tables of the sources with `meta: {created_when_missing: true}` that are not there yet, empty, with the
    columns and types that their yml declares: so dbt can run alone, before anything has written them. -#}
{% macro create_missing_sources() -%}
  {%- if execute %}
  {%- for node in graph.sources.values() if node.config.meta.get('created_when_missing') %}
  {%- if adapter.get_relation(node.database, node.schema, node.identifier) is none %}
  {%- set relation = api.Relation.create(node.database, node.schema, node.identifier) %}
  {%- do adapter.create_schema(relation) %}
  {%- do run_query(create_empty_table(relation, node.columns.values())) %}
  {%- endif %}
  {%- endfor %}
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
