{#- A category's name as people write it: the label that the seed category_labels gives it, else the name without the white
    space around it and with single spaces in it, and in sentence case where the shop sends capitals only. -#}
{% macro category_label(name, label) -%}
  {%- set spaced = 'trim(' ~ collapse_white_space(name) ~ ')' -%}
  coalesce({{ label }}, case
    when {{ name }} = upper({{ name }}) then upper(substr({{ spaced }}, 1, 1)) || lower(substr({{ spaced }}, 2))
    else {{ spaced }}
  end)
{%- endmacro %}

{#- Each run of white space becomes one space. -#}
{% macro collapse_white_space(text) -%}
  {{ return(adapter.dispatch('collapse_white_space', 'next_aisle')(text)) }}
{%- endmacro %}

{#- DuckDB replaces only the first match unless it is told otherwise. -#}
{% macro default__collapse_white_space(text) -%}
  {{ return("regexp_replace(" ~ text ~ ", '[ \\t\\r\\n]+', ' ', 'g')") }}
{%- endmacro %}

{#- Spark replaces every match; its fourth argument is a position. -#}
{% macro spark__collapse_white_space(text) -%}
  {{ return("regexp_replace(" ~ text ~ ", '[ \\t\\r\\n]+', ' ')") }}
{%- endmacro %}
