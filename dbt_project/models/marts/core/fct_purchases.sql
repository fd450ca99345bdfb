with

lines as (

    select * from {{ ref('int_purchase_lines') }}
    where rejection_reason is null

),

products as (

    select * from {{ ref('dim_products') }}

),

purchases as (

    select
        lines.source_name || ':' || lines.basket_id || ':' || lines.product_id || ':'
        || cast(lines.line_number as {{ dbt.type_string() }}) as purchase_line_key,
        {{ source_key('lines.basket_id', 'lines.source_name') }} as basket_key,
        {{ source_key('lines.customer_id', 'lines.source_name') }} as customer_key,
        products.product_key,
        products.category_key,
        products.is_merchandise,
        lines.source_name,
        lines.store_id,
        lines.purchased_at,
        cast(lines.purchased_at as date) as purchase_date,
        lines.quantity,
        lines.amount,
        coalesce(lines.discount_amount, cast(0 as decimal(18, 2))) as discount_amount
    from lines
    inner join products
        on
            lines.source_name = products.source_name
            and lines.product_id = products.product_id

)

select
    purchase_line_key,
    basket_key,
    customer_key,
    product_key,
    category_key,
    source_name,
    store_id,
    purchased_at,
    purchase_date,
    cast(quantity as decimal(18, 3)) as quantity,
    cast(amount as decimal(18, 2)) as amount,
    cast(discount_amount as decimal(18, 2)) as discount_amount,
    is_merchandise
from purchases
