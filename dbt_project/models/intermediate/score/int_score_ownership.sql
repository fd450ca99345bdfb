with

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where {{ is_scored_or_sampled() }}

)

select
    customers.source_name,
    customers.step,
    customers.customer_number,
    adoptions.category_number,
    customers.is_scored,
    customers.is_sampled,
    customers.sample_letter
from customers
inner join adoptions
    on
        customers.customer_number = adoptions.customer_number
        and customers.step <= adoptions.adopted_step
-- Customer by customer, so that sums per customer in later models stay in the processor's cache.
order by
    customers.step,
    customers.customer_number
