{#- The active sources with totals without dates and without purchase lines. -#}
{% macro undated_sources() -%}
  {{ return(sources_with('category_totals') | reject('in', sources_with('purchases')) | list) }}
{%- endmacro %}

{#- Whether a row's source is one of them. -#}
{% macro is_undated(source_name='source_name') -%}
  {{ is_one_of(source_name, undated_sources()) }}
{%- endmacro %}

{#- Whether a row's source has both. Then its purchase lines count, and its totals are set aside. -#}
{% macro has_lines_and_totals(source_name='source_name') -%}
  {{ is_one_of(source_name, sources_with('category_totals') | select('in', sources_with('purchases')) | list) }}
{%- endmacro %}

{% macro is_one_of(column, names) -%}
  {{ return(column ~ " in ('" ~ names | join("', '") ~ "')" if names else 'false') }}
{%- endmacro %}
