{#- A model's schema has the name that is configured for its folder, in every target: core.dim_customers has the same name
    everywhere. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}
