{{ config(
    materialized=row_level(),
    incremental_strategy='changed_baskets',
    unique_key='basket_key',
    on_schema_change='fail',
    pre_hook="{{ find_baskets_of_changed_products() }}",
) }}
with

lines as (

    select * from {{ ref('int_purchase_lines') }}
    where
        rejection_reason is null
    {%- if is_incremental() %}
        and {{ is_in_changed_baskets() }}
        {%- endif %}

),

customers as (

    select * from {{ ref('customer_numbers') }}

),

products as (

    select * from {{ ref('product_numbers') }}

),

rates as (

    select * from {{ ref('daily_exchange_rates') }}

),

purchases as (

    select
        lines.source_name || ':' || lines.basket_id || ':' || lines.product_id || ':'
        || cast(lines.line_number as {{ dbt.type_string() }}) as purchase_line_key,
        {{ source_key('lines.basket_id', 'lines.source_name') }} as basket_key,
        customers.customer_key,
        products.product_key,
        products.category_key,
        products.is_merchandise,
        lines.source_name,
        lines.product_id,
        lines.store_id,
        lines.purchased_at,
        cast(lines.purchased_at as date) as purchase_date,
        lines.quantity,
        lines.amount as original_amount,
        coalesce(lines.discount_amount, cast(0 as decimal(18, 2))) as original_discount_amount,
        rates.currency,
        rates.rate
    from lines
    inner join customers
        on
            lines.source_name = customers.source_name
            and lines.customer_id = customers.customer_id
    inner join products
        on
            lines.source_name = products.source_name
            and lines.product_id = products.product_id
    -- A day without a rate keeps its lines, without an amount, which a test of the rates stops.
    left join rates
        on
            lines.source_name = rates.source_name
            and cast(lines.purchased_at as date) = rates.rate_date

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
    {{ converted('original_amount', 'rate') }} as amount,
    {{ converted('original_discount_amount', 'rate') }} as discount_amount,
    is_merchandise,
    product_id,
    currency,
    cast(original_amount as decimal(18, 2)) as original_amount
from purchases
