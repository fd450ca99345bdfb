{#- Removes the notes that the selected models, seeds and tests are up to date (quality/up_to_date.py): from here on, they
    are built from the code and settings of this run of dbt, also when a person started it. -#}
{% macro forget_versions() -%}
  {%- if execute and flags.WHICH in ('build', 'run', 'seed') and selected_resources %}
  {%- set versions = adapter.get_relation(target.database, 'build_state', 'versions') %}
  {%- if versions is not none %}
  {%- do run_query("delete from " ~ versions ~ " where unique_id in ('" ~ selected_resources | join("', '") ~ "')") %}
  {#- dbt rolls back what a hook leaves open. #}
  {%- do adapter.commit() %}
  {%- endif %}
  {%- endif %}
{%- endmacro %}
