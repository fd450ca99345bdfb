{{ config(materialized='view') }}
-- Which customers are no candidates for which categories, and since when: those they own, and in the market of linked
-- shops all categories of a shop where they buy already, because what they begin there is scored in that shop.
with

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

of_linked_shops as (

    select distinct
        source_name,
        category_number,
        category_source_name
    from {{ ref('int_score_categories') }}
    where category_source_name <> source_name

),

bought_in as (

    select
        adoptions.source_name,
        adoptions.customer_number,
        of_linked_shops.category_source_name,
        max(adoptions.adopted_step) as first_step
    from adoptions
    inner join of_linked_shops
        on adoptions.category_number = of_linked_shops.category_number
    group by
        adoptions.source_name,
        adoptions.customer_number,
        of_linked_shops.category_source_name

)

select
    adoptions.source_name,
    adoptions.customer_number,
    adoptions.category_number,
    adoptions.adopted_step,
    adoptions.adopted_step as excluded_step
from adoptions
left join of_linked_shops
    on adoptions.category_number = of_linked_shops.category_number
where of_linked_shops.category_number is null

union all

select
    bought_in.source_name,
    bought_in.customer_number,
    of_linked_shops.category_number,
    adoptions.adopted_step,
    bought_in.first_step as excluded_step
from bought_in
inner join of_linked_shops
    on
        bought_in.source_name = of_linked_shops.source_name
        and bought_in.category_source_name = of_linked_shops.category_source_name
left join adoptions
    on
        bought_in.customer_number = adoptions.customer_number
        and of_linked_shops.category_number = adoptions.category_number
