{{ config(
    materialized=row_level(),
    incremental_strategy='changed_baskets',
    unique_key='basket_key',
    on_schema_change='fail',
) }}
with

purchases as (

    select * from {{ ref('fct_purchases') }}
    {%- if is_incremental() %}
    where {{ has_changed_basket_key() }}
    {%- endif %}

)

select
    basket_key,
    source_name,
    -- A basket has one customer and one time; if a source breaks that, the smallest value counts.
    min(customer_key) as customer_key,
    min(store_id) as store_id,
    min(purchased_at) as purchased_at,
    min(purchase_date) as purchase_date,
    cast(count(*) as bigint) as line_count,
    cast(count(distinct product_key) as bigint) as product_count,
    cast(count(distinct category_key) as bigint) as category_count,
    cast(sum(amount) as decimal(18, 2)) as amount,
    cast(sum(discount_amount) as decimal(18, 2)) as discount_amount
from purchases
group by
    basket_key,
    source_name
