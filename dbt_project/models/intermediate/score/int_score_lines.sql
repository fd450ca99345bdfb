-- The purchases that are scored, in steps of one horizon back from the as-of date, so that every earlier date that the
-- score is learned from or tested at is the border of two steps.
{%- set as_of = "cast('" ~ var('score_as_of') ~ "' as date)" %}
with

purchases as (

    select * from {{ ref('fct_purchases') }}
    where
        quantity > 0
        and amount > 0
    {%- if var('score_as_of') %}
        and purchase_date <= {{ as_of }}
        {%- endif %}

),

product_categories as (

    select
        source_name,
        product_id,
        {{ score_level_column() }} as category_name
    from {{ ref('product_numbers') }}
    where is_merchandise

),

-- Numbers in place of long keys, because later models join hundreds of millions of rows on them.
products as (

    select
        markets.source_name,
        product_categories.source_name as category_source_name,
        product_categories.product_id,
        product_categories.category_name,
        dense_rank() over (
            order by markets.source_name, product_categories.source_name, product_categories.category_name
        ) as category_number
    from product_categories
    inner join {{ ref('int_score_markets') }} as markets
        on product_categories.source_name = markets.category_source_name
    where product_categories.category_name is not null

),

persons as (

    select distinct customer_key
    from {{ ref('customer_numbers') }}
    where person is not null

),

-- Linked shops are scored each by itself, and then together for the persons that they know to be the same.
bought as (

    select
        products.source_name,
        purchases.customer_key,
        products.category_source_name,
        products.category_name,
        products.category_number,
        purchases.basket_key,
        purchases.purchase_date,
        purchases.amount
    from purchases
    inner join products
        on
            purchases.source_name = products.category_source_name
            and purchases.product_id = products.product_id
    left join persons
        on purchases.customer_key = persons.customer_key
    where
        products.source_name = products.category_source_name
        or persons.customer_key is not null

),

customers as (

    select
        source_name,
        customer_key,
        row_number() over (order by source_name, customer_key) as customer_number
    from bought
    group by
        source_name,
        customer_key

),

newest as (

    select
        category_source_name,
        max(purchase_date) as newest_date
    from bought
    group by category_source_name

),

as_of as (

    select
        markets.source_name,
        {%- if var('score_as_of') %}
        -- No customer is active at a date long after a shop's newest purchase: such a shop is history.
        case
            when {{ days_between('max(newest.newest_date)', as_of) }} < {{ var('score_active_days') }} then {{ as_of }}
            else max(newest.newest_date)
        end as as_of_date
        {%- else %}
            max(newest.newest_date) as as_of_date
        {%- endif %}
    from {{ ref('int_score_markets') }} as markets
    inner join newest
        on markets.category_source_name = newest.category_source_name
    group by markets.source_name

)

select
    bought.source_name,
    as_of.as_of_date,
    bought.customer_key,
    cast(customers.customer_number as {{ dbt.type_int() }}) as customer_number,
    bought.category_source_name,
    {{ source_key('bought.category_name', 'bought.category_source_name') }} as category_key,
    bought.category_name,
    cast(bought.category_number as {{ dbt.type_int() }}) as category_number,
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
inner join customers
    on
        bought.source_name = customers.source_name
        and bought.customer_key = customers.customer_key
