{#- Whether so many of a shop's customers buy in a category that proposing it says little. Null is no share: not a staple. -#}
{% macro is_staple(penetration) -%}
  coalesce({{ penetration }} >= {{ var('staple_penetration') }}, false)
{%- endmacro %}
