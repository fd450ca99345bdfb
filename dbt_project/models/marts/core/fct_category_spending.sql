with

purchases as (

    select * from {{ ref('fct_purchases') }}

),

totals as (

    select * from {{ ref('int_category_totals') }}
    where rejection_reason is null

),

customers as (

    select * from {{ ref('customer_numbers') }}

),

rates as (

    select * from {{ ref('daily_exchange_rates') }}

),

from_purchases as (

    select
        customer_key,
        category_key,
        source_name,
        'purchase lines' as spending_basis,
        sum(amount) as amount,
        sum(original_amount) as original_amount,
        cast(null as bigint) as total_count,
        count(*) as line_count,
        count(distinct basket_key) as basket_count,
        min(purchase_date) as first_purchase_date,
        max(purchase_date) as last_purchase_date
    from purchases
    group by
        customer_key,
        category_key,
        source_name

),

from_totals as (

    select
        customers.customer_key,
        totals.category_key,
        totals.source_name,
        'totals without dates' as spending_basis,
        sum({{ converted('totals.amount', 'rates.rate') }}) as amount,
        sum(totals.amount) as original_amount,
        count(*) as total_count,
        cast(null as bigint) as line_count,
        cast(null as bigint) as basket_count,
        cast(null as date) as first_purchase_date,
        cast(null as date) as last_purchase_date
    from totals
    inner join customers
        on
            totals.source_name = customers.source_name
            and totals.customer_id = customers.customer_id
    -- A day without a rate keeps its totals, without an amount, which a test of the rates stops.
    left join rates
        on
            totals.source_name = rates.source_name
            and totals.delivered_on = rates.rate_date
    group by
        customers.customer_key,
        totals.category_key,
        totals.source_name

),

spending as (

    select * from from_purchases
    union all
    select * from from_totals

)

select
    customer_key || ':' || category_key as category_spending_key,
    customer_key,
    category_key,
    source_name,
    spending_basis,
    cast(amount as decimal(18, 2)) as amount,
    cast(original_amount as decimal(18, 2)) as original_amount,
    cast(total_count as bigint) as total_count,
    cast(line_count as bigint) as line_count,
    cast(basket_count as bigint) as basket_count,
    first_purchase_date,
    last_purchase_date
from spending
