-- The purchases that are scored, in steps of one horizon back from the as-of date, so that every earlier date that the
-- score is learned from or tested at is the border of two steps.
with

purchases as (

    select * from {{ ref('fct_purchases') }}
    where
        quantity > 0
        and amount > 0
    {%- if var('score_as_of') %}
        and purchase_date <= cast('{{ var("score_as_of") }}' as date)
        {%- endif %}

),

product_categories as (

    select
        product_key,
        source_name,
        {{ score_level_column() }} as category_name
    from {{ ref('dim_products') }}
    where is_merchandise

),

-- Numbers in place of long keys, because later models join hundreds of millions of rows on them.
products as (

    select
        *,
        dense_rank() over (order by source_name, category_name) as category_number
    from product_categories
    where category_name is not null

),

customers as (

    select
        customer_key,
        row_number() over (order by customer_key) as customer_number
    from purchases
    group by customer_key

),

bought as (

    select
        purchases.source_name,
        purchases.customer_key,
        customers.customer_number,
        products.category_name,
        products.category_number,
        purchases.purchase_line_key,
        purchases.basket_key,
        purchases.purchase_date,
        purchases.amount
    from purchases
    inner join products
        on purchases.product_key = products.product_key
    inner join customers
        on purchases.customer_key = customers.customer_key

),

as_of as (

    select
        source_name,
        {%- if var('score_as_of') %}
        cast('{{ var("score_as_of") }}' as date) as as_of_date
        {%- else %}
            max(purchase_date) as as_of_date
        {%- endif %}
    from bought
    group by source_name

)

select
    bought.source_name,
    as_of.as_of_date,
    bought.customer_key,
    cast(bought.customer_number as {{ dbt.type_int() }}) as customer_number,
    {{ source_key('bought.category_name', 'bought.source_name') }} as category_key,
    bought.category_name,
    cast(bought.category_number as {{ dbt.type_int() }}) as category_number,
    bought.purchase_line_key,
    bought.basket_key,
    bought.purchase_date,
    cast(
        floor({{ days_between('bought.purchase_date', 'as_of.as_of_date') }} / {{ var('score_horizon_days') }})
        as {{ dbt.type_int() }}
    ) as step,
    bought.amount
from bought
inner join as_of
    on bought.source_name = as_of.source_name
