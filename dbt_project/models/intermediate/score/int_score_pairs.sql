with

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where {{ is_scored() }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

co_ownership as (

    select * from {{ ref('int_score_residual_co_ownership') }}

),

means as (

    select distinct
        step,
        wanted_number,
        mean_residual_co_ownership
    from co_ownership

),

-- A candidate: an active customer and a category that was sold and that the customer did not own.
candidates as (

    select
        customers.source_name,
        customers.step,
        customers.customer_number,
        categories.category_number,
        customers.owned_count,
        case
            when customers.step = 0 then null
            when adoptions.adopted_step = customers.step - 1 then 1
            else 0
        end as adopted
    from customers
    inner join categories
        on
            customers.source_name = categories.source_name
            and customers.step = categories.step
    left join adoptions
        on
            customers.customer_number = adoptions.customer_number
            and categories.category_number = adoptions.category_number
    where
        adoptions.adopted_step is null
        or adoptions.adopted_step < customers.step

),

summed as (

    select
        ownership.step,
        ownership.customer_number,
        co_ownership.wanted_number,
        sum(co_ownership.residual_co_ownership) as residual_co_ownership
    from {{ ref('int_score_ownership') }} as ownership
    inner join co_ownership
        on
            ownership.step = co_ownership.step
            and ownership.category_number = co_ownership.owned_number
    group by
        ownership.step,
        ownership.customer_number,
        co_ownership.wanted_number

)

select
    candidates.source_name,
    candidates.step,
    candidates.customer_number,
    candidates.category_number,
    coalesce(summed.residual_co_ownership, 0)
    - candidates.owned_count * coalesce(means.mean_residual_co_ownership, 0) as residual_co_ownership,
    candidates.adopted
from candidates
left join summed
    on
        candidates.step = summed.step
        and candidates.customer_number = summed.customer_number
        and candidates.category_number = summed.wanted_number
left join means
    on
        candidates.step = means.step
        and candidates.category_number = means.wanted_number
