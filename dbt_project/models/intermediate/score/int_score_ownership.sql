with

buying as (

    select * from {{ ref('int_score_buying') }}
    where step = adopted_step

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where {{ is_scored() }}

)

select
    customers.source_name,
    customers.step,
    customers.customer_number,
    buying.category_number
from customers
inner join buying
    on
        customers.customer_number = buying.customer_number
        and customers.step <= buying.step
-- Customer by customer: what is summed up for each of them downstream then stays in the processor's cache.
order by
    customers.step,
    customers.customer_number
