{#- A model's schema is named as its folder says, in every target: readers find core.dim_customers everywhere. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}
