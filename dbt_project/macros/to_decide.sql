{#- A mark in a model that `ingestion new` wrote: a person has to say what is meant, and puts it in the place of the call. A model
    with a mark cannot be built. -#}
{% macro to_decide(question) -%}
  {%- if execute %}
  {%- do exceptions.raise_compiler_error('decide in dbt_project/' ~ model.original_file_path ~ ': ' ~ question) %}
  {%- endif %}
  {{ return('null') }}
{%- endmacro %}
