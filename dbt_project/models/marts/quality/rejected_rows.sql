with

customers as (

    select
        source_name,
        'customers' as table_name,
        rejection_reason,
        customer_id as record_id,
        landed_file,
        load_id,
        cast(null as timestamp) as purchased_at,
        cast(null as decimal(18, 3)) as quantity,
        cast(null as decimal(18, 2)) as amount
    from {{ ref('int_customers') }}
    where rejection_reason is not null

),

products as (

    select
        source_name,
        'products' as table_name,
        rejection_reason,
        product_id as record_id,
        landed_file,
        load_id,
        cast(null as timestamp) as purchased_at,
        cast(null as decimal(18, 3)) as quantity,
        cast(null as decimal(18, 2)) as amount
    from {{ ref('int_products') }}
    where rejection_reason is not null

),

purchases as (

    select
        source_name,
        'purchases' as table_name,
        rejection_reason,
        'basket ' || coalesce(basket_id, '?')
        || ', customer ' || coalesce(customer_id, '?')
        || ', product ' || coalesce(product_id, '?') as record_id,
        landed_file,
        load_id,
        purchased_at,
        quantity,
        amount
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is not null

),

all_rejected as (

    select * from customers
    union all
    select * from products
    union all
    select * from purchases

)

select
    *,
    case
        when rejection_reason like 'missing_%' then 'incomplete'
        when rejection_reason = 'duplicate' or rejection_reason like 'repeated_%' then 'repeated'
        when rejection_reason in ('zero_quantity', 'zero_amount', 'future_date', 'ancient_date') then 'invalid'
        -- Nothing is wrong with these.
        when rejection_reason in ('superseded_delivery', 'return') then 'set aside'
    end as rejection_kind
from all_rejected
