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

surplus as (

    select * from {{ ref('int_score_surplus') }}

),

expected as (

    select distinct
        step,
        wanted_number,
        expected_surplus
    from surplus

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

said as (

    select
        ownership.step,
        ownership.customer_number,
        surplus.wanted_number,
        sum(surplus.surplus) as surplus
    from {{ ref('int_score_ownership') }} as ownership
    inner join surplus
        on
            ownership.step = surplus.step
            and ownership.category_number = surplus.owned_number
    group by
        ownership.step,
        ownership.customer_number,
        surplus.wanted_number

)

select
    candidates.source_name,
    candidates.step,
    candidates.customer_number,
    candidates.category_number,
    coalesce(said.surplus, 0) - candidates.owned_count * coalesce(expected.expected_surplus, 0) as surplus,
    candidates.adopted
from candidates
left join said
    on
        candidates.step = said.step
        and candidates.customer_number = said.customer_number
        and candidates.category_number = said.wanted_number
left join expected
    on
        candidates.step = expected.step
        and candidates.category_number = expected.wanted_number
