{#- Whether a product's number is in the seed non_merchandise_products, where % stands for any characters. -#}
{% macro is_non_merchandise_product(product_id, source_name) -%}
  exists (
            select 1
            from {{ ref('non_merchandise_products') }} as listed
            where
                {{ source_name }} = listed.source_name
                and {{ product_id }} like listed.product_id
        )
{%- endmacro %}
