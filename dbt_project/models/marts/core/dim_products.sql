with

products as (

    select * from {{ ref('product_numbers') }}

),

shops as (

    select
        product_key,
        count(distinct source_name) as shop_count
    from products
    group by product_key

)

select
    products.product_key,
    products.source_name,
    products.product_id,
    products.product_name,
    products.department,
    products.category_key,
    products.category_name,
    products.product_type,
    products.brand,
    products.manufacturer_id,
    products.package_size,
    products.is_merchandise,
    products.is_inferred,
    shops.shop_count
from products
inner join shops
    on products.product_key = shops.product_key
where products.position = 1
