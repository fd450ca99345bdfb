-- How much more a customer has spent on beginning categories than others did, as a factor.
with

customers as (

    select * from {{ ref('int_score_customers') }}
    where {{ is_scored_or_sampled() }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

means as (

    select
        source_name,
        step,
        avg(expected_spend) as mean_spend
    from categories
    group by
        source_name,
        step

),

spent as (

    select
        customers.source_name,
        customers.step,
        customers.customer_number,
        sum(cast(adoptions.amount as double)) as amount,
        sum(categories.expected_spend) as usual_amount
    from customers
    inner join adoptions
        on
            customers.customer_number = adoptions.customer_number
            and customers.step <= adoptions.adopted_step
    inner join categories
        on
            customers.step = categories.step
            and adoptions.category_number = categories.category_number
    group by
        customers.source_name,
        customers.step,
        customers.customer_number

)

select
    spent.source_name,
    spent.step,
    spent.customer_number,
    (spent.amount + {{ spending_prior_adoptions() }} * means.mean_spend)
    / (spent.usual_amount + {{ spending_prior_adoptions() }} * means.mean_spend) as spending_ratio
from spent
inner join means
    on
        spent.source_name = means.source_name
        and spent.step = means.step
where means.mean_spend > 0
