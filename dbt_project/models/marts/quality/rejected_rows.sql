with

customers as (

    select
        source_name,
        'customers' as table_name,
        rejection_reason,
        customer_id as record_id,
        delivery,
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
        delivery,
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
        delivery,
        load_id,
        purchased_at,
        quantity,
        amount
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is not null

),

category_totals as (

    select
        source_name,
        'category_totals' as table_name,
        rejection_reason,
        'customer ' || coalesce(customer_id, '?') || ', category ' || coalesce(category, '?') as record_id,
        delivery,
        load_id,
        cast(null as timestamp) as purchased_at,
        cast(null as decimal(18, 3)) as quantity,
        amount
    from {{ ref('int_category_totals') }}
    where rejection_reason is not null

),

quarantined as (

    select
        source_name,
        table_name,
        rejection_reason,
        'line ' || cast(line as {{ dbt.type_string() }}) as record_id,
        delivery,
        load_id,
        cast(null as timestamp) as purchased_at,
        cast(null as decimal(18, 3)) as quantity,
        cast(null as decimal(18, 2)) as amount
    from {{ ref('int_quarantined_rows') }}

),

reasons as (

    select * from {{ ref('rejection_reasons') }}

),

all_rejected as (

    select * from customers
    union all
    select * from products
    union all
    select * from purchases
    union all
    select * from category_totals
    union all
    select * from quarantined

)

select
    all_rejected.*,
    reasons.rejection_kind,
    -- Deprecated, until 0.6.0.
    all_rejected.delivery as landed_file
from all_rejected
left join reasons
    on
        all_rejected.table_name = reasons.table_name
        and all_rejected.rejection_reason = reasons.rejection_reason
