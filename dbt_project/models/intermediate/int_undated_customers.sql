with

customers as (

    select * from {{ ref('int_customers') }}
    where
        rejection_reason is null
        and {{ is_undated() }}

),

-- A customer that only totals know is a customer all the same, so that no total is lost.
keys as (

    select
        source_name,
        customer_id
    from customers

    union distinct

    select
        source_name,
        customer_id
    from {{ ref('int_category_totals') }}
    where rejection_reason is null

)

select
    keys.source_name,
    keys.customer_id,
    customers.stated_purchases,
    customers.stated_recency_days
from keys
left join customers
    on
        keys.source_name = customers.source_name
        and keys.customer_id = customers.customer_id
