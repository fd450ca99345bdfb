{#- Stops dbt with one sentence where a source's table that a selected model or test reads was never loaded. Without it
    each of them fails with an error of its own. -#}
{% macro require_loaded_sources() -%}
  {%- if execute and flags.WHICH in ('build', 'run', 'test') %}
  {%- set needed = [] %}
  {%- for id in selected_resources %}
  {%- do needed.extend(graph.nodes.get(id, {}).get('depends_on', {}).get('nodes', [])) %}
  {%- endfor %}
  {%- set missing = [] %}
  {%- for source in graph.sources.values() if source.unique_id in needed %}
  {%- if not source.config.meta.get('created_when_missing')
      and adapter.get_relation(source.database, source.schema, source.identifier) is none %}
  {%- do missing.append(source.schema ~ '.' ~ source.identifier) %}
  {%- endif %}
  {%- endfor %}
  {%- if missing %}
  {%- do exceptions.raise_compiler_error(
      'nothing is loaded yet: ' ~ missing | sort | join(', ') ~ ' not found in ' ~ (target.path or target.name)
      ~ '. Load and build everything: make run, in the root of the project') %}
  {%- endif %}
  {%- endif %}
{%- endmacro %}
