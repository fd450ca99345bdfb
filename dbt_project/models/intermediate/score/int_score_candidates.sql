{{ config(materialized='view') }}
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

-- Since when the persons of linked shops buy in which of the shops.
of_linked_shops as (

    select distinct
        category_number,
        category_source_name
    from categories
    where category_source_name <> source_name

),

bought_in as (

    select
        adoptions.customer_number,
        of_linked_shops.category_source_name,
        max(adoptions.adopted_step) as first_step
    from adoptions
    inner join of_linked_shops
        on adoptions.category_number = of_linked_shops.category_number
    group by
        adoptions.customer_number,
        of_linked_shops.category_source_name

)

-- A candidate: an active customer and a category that was sold and that the customer did not own.
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
left join bought_in
    on
        customers.customer_number = bought_in.customer_number
        and categories.category_source_name = bought_in.category_source_name
where
    (adoptions.adopted_step is null or adoptions.adopted_step < customers.step)
    -- What they begin in a shop where they buy already is scored in that shop.
    and (bought_in.first_step is null or bought_in.first_step < customers.step)
