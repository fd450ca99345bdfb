with

products as (

    select * from {{ ref('int_products') }}
    where rejection_reason is null

),

bought as (

    select distinct
        source_name,
        product_id
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is null

),

-- A product that only purchases name becomes a product too, an inferred member, so that no line is lost.
inferred as (

    select
        bought.source_name,
        bought.product_id
    from bought
    left join products
        on
            bought.source_name = products.source_name
            and bought.product_id = products.product_id
    where products.product_id is null

),

all_products as (

    select
        source_name,
        product_id,
        product_name,
        department,
        category,
        product_type,
        brand,
        manufacturer_id,
        package_size,
        is_merchandise,
        false as is_inferred
    from products

    union all

    select
        source_name,
        product_id,
        cast(null as {{ dbt.type_string() }}) as product_name,
        cast(null as {{ dbt.type_string() }}) as department,
        cast(null as {{ dbt.type_string() }}) as category,
        cast(null as {{ dbt.type_string() }}) as product_type,
        cast(null as {{ dbt.type_string() }}) as brand,
        cast(null as {{ dbt.type_string() }}) as manufacturer_id,
        cast(null as {{ dbt.type_string() }}) as package_size,
        true as is_merchandise,
        true as is_inferred
    from inferred

)

select
    {{ source_key('product_id') }} as product_key,
    source_name,
    product_id,
    product_name,
    department,
    {{ source_key("coalesce(category, 'Unknown')") }} as category_key,
    coalesce(category, 'Unknown') as category_name,
    product_type,
    brand,
    manufacturer_id,
    package_size,
    is_merchandise,
    is_inferred
from all_products
