{{ config(enabled='crm' in var('sources')) }}
{% set categories = {
    'Wines': 'mnt_wines',
    'Fruits': 'mnt_fruits',
    'Meat': 'mnt_meat_products',
    'Fish': 'mnt_fish_products',
    'Sweets': 'mnt_sweet_products',
    'Gold products': 'mnt_gold_prods',
} -%}
with

landed as (

    select * from {{ source('crm', 'customers') }}

),

totals as (

    {%- for category, column in categories.items() %}
        select
            cast('crm' as {{ dbt.type_string() }}) as source_name,
            cast(id as {{ dbt.type_string() }}) as customer_id,
            cast('{{ category }}' as {{ dbt.type_string() }}) as category,
            cast({{ column }} as decimal(18, 2)) as amount,
            cast(_delivery as {{ dbt.type_string() }}) as delivery,
            cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
        from landed
        {%- if not loop.last %}

            union all

        {%- endif %}
    {%- endfor %}

)

select * from totals
