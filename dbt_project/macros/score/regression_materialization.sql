{#- Builds a table of the rounds of a regression. The model's SQL is one round (newton_round). It is run until the weights are
    settled (regression_settled_move), at most as often as meta.rounds says, and what it returns is added to the table, which
    the next round reads. The table starts empty, with the columns in the model's yml. On an engine with transactions a killed
    run leaves the table as it was. -#}
{% materialization regression, default %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set rounds = this.incorporate(type='table') -%}
  {%- set names = model.columns.keys() | join(', ') -%}
  {%- set progress = namespace(is_settled=false) -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- if existing is not none %}
    {%- do adapter.drop_relation(existing) -%}
  {%- endif %}
  {%- call statement('columns') -%}
    {{ create_table_as(False, rounds, get_empty_subquery_sql(get_empty_schema_sql(model.columns))) }}
  {%- endcall %}
  {%- for round in range(config.meta_get('rounds')) if not progress.is_settled %}
    {%- call statement('main') -%}
      insert into {{ rounds }} ({{ names }})
      select {{ names }} from (
        {{ sql }}
      ) as next_round
    {%- endcall %}
    {%- set move = run_query(newest_move(rounds, model.columns)).columns[0][0] %}
    {%- set progress.is_settled = move is not none and move < regression_settled_move() %}
  {%- endfor %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do adapter.commit() %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [rounds]}) }}
{% endmaterialization %}

{#- The sum of all weights' moves in the newest round, at the date where they moved furthest; null after the first round. -#}
{% macro newest_move(rounds, columns) -%}
  select max(
    0.0
    {%- for weight in columns if weight not in ('source_name', 'step', 'round_number') %}
    + abs(newest.{{ weight }} - before.{{ weight }})
    {%- endfor %}
  ) as move
  from {{ rounds }} as newest
  inner join {{ rounds }} as before
    on
      newest.source_name = before.source_name
      and newest.step = before.step
      and newest.round_number = before.round_number + 1
  where newest.round_number = (select max(round_number) from {{ rounds }})
{%- endmacro %}
