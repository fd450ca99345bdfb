{#- A key that is unique over all sources: the source's name and the source's own number. Null stays null. -#}
{% macro source_key(id, source_name='source_name') -%}
  {{ source_name }} || ':' || {{ id }}
{%- endmacro %}

{#- The key of a person or product that an identity seed links, or else that of the source's own number. No source may have the
    name that such keys begin with. -#}
{% macro identity_key(kind, identity, id, source_name) -%}
  {%- if kind in var('sources') -%}
    {{ exceptions.raise_compiler_error("a source cannot be named '" ~ kind ~ "': keys of linked numbers begin so. Rename it") }}
  {%- endif -%}
  coalesce('{{ kind }}:' || {{ identity }}, {{ source_key(id, source_name) }})
{%- endmacro %}

{#- The place of a source in the list of active sources, by which linked numbers are ordered. -#}
{% macro source_position(source_name) -%}
  case {{ source_name }}
    {%- for name in var('sources') %}
    when '{{ name }}' then {{ loop.index }}
    {%- endfor %}
    else {{ var('sources') | length + 1 }}
  end
{%- endmacro %}

{#- For staging models of a source whose systems write the same number in several ways: without the white space around it, with
    single spaces in it, and in capitals (case='upper') or small letters (case='lower') if the source declares that case does
    not matter. An empty number is null. -#}
{% macro clean_key(column, case=none) -%}
  {%- if case not in (none, 'upper', 'lower') -%}
    {{ exceptions.raise_compiler_error("clean_key: case is '" ~ case ~ "'; it must be upper, lower or left out") }}
  {%- endif -%}
  {%- set cleaned = 'trim(' ~ collapse_white_space('cast(' ~ column ~ ' as ' ~ dbt.type_string() ~ ')') ~ ')' -%}
  nullif({{ case ~ '(' ~ cleaned ~ ')' if case else cleaned }}, '')
{%- endmacro %}
