{#- Runs a data test, and keeps the rows that fail it as a view in the schema failed_rows. dbt's own makes a view for each test
    before it runs it; here only a test that fails has one. With some 300 tests that is 2 seconds of each build. -#}
{% materialization test, default %}
  {%- set failed_rows = api.Relation.create(
    database=database, schema=schema, identifier=model['alias'], type='view'
  ) -%}
  {%- set earlier = adapter.get_relation(database=database, schema=schema, identifier=model['alias']) -%}
  {%- set rows = get_limit_subquery_sql(sql, config.get('limit')) -%}
  {%- set relations = [] -%}

  {%- call statement('main', fetch_result=True) -%}
    {{ get_test_sql(rows, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none) }}
  {%- endcall -%}

  {%- if earlier is not none -%}
    {%- do adapter.drop_relation(earlier) -%}
  {%- endif -%}
  {%- if should_store_failures() and load_result('main')['data'][0][0] -%}
    {%- call statement('failed_rows', auto_begin=True) -%}
      {{ get_create_sql(failed_rows, rows) }}
    {%- endcall -%}
    {%- do relations.append(failed_rows) -%}
  {%- endif -%}
  {%- do adapter.commit() -%}

  {{ return({'relations': relations}) }}
{% endmaterialization %}
