{#- Whether most of a shop's customers buy in a category anyway. A penetration of null is not a staple. -#}
{% macro is_staple(penetration) -%}
  coalesce({{ penetration }} >= {{ var('staple_penetration') }}, false)
{%- endmacro %}
