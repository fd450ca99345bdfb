{#- Builds a table of the rounds of a regression. The model's SQL is one round (newton_round). It is run as often as
    meta.rounds says, and what it returns is added to the table, which the next round reads. The table starts empty, with
    the columns in the model's yml. On an engine with transactions a killed run leaves the table as it was. -#}
{% materialization regression, default %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set rounds = this.incorporate(type='table') -%}
  {%- set names = model.columns.keys() | join(', ') -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- if existing is not none %}
    {%- do adapter.drop_relation(existing) -%}
  {%- endif %}
  {%- call statement('columns') -%}
    {{ create_table_as(False, rounds, get_empty_subquery_sql(get_empty_schema_sql(model.columns))) }}
  {%- endcall %}
  {%- for round in range(config.meta_get('rounds')) %}
    {%- call statement('main') -%}
      insert into {{ rounds }} ({{ names }})
      select {{ names }} from (
        {{ sql }}
      ) as next_round
    {%- endcall %}
  {%- endfor %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do adapter.commit() %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [rounds]}) }}
{% endmaterialization %}
