with

baskets as (

    select * from {{ ref('int_affinity_baskets') }}

),

adoptions as (

    select * from {{ ref('int_affinity_adoptions') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}
    where step = 0

),

dates as (

    select * from {{ ref('int_score_dates') }}
    where step = 0

)

select
    category.category_source_name as source_name,
    dates.as_of_date,
    category.category_key,
    category.category_name,
    category.category_label,
    other_category.category_key as other_category_key,
    other_category.category_name as other_category_name,
    other_category.category_label as other_category_label,
    baskets.basket_total,
    baskets.basket_count,
    baskets.other_basket_count,
    baskets.both_basket_count,
    baskets.support,
    baskets.confidence,
    baskets.other_confidence,
    baskets.lift,
    baskets.lift_low,
    baskets.lift_high,
    baskets.log_likelihood_ratio,
    adoptions.customer_total,
    adoptions.customer_count,
    adoptions.other_customer_count,
    adoptions.both_customer_count,
    adoptions.owner_candidate_count,
    adoptions.owner_adopter_count,
    adoptions.nonowner_candidate_count,
    adoptions.nonowner_adopter_count,
    adoptions.owner_adoption_rate,
    adoptions.nonowner_adoption_rate,
    adoptions.adoption_lift,
    adoptions.adoption_lift_low,
    adoptions.adoption_lift_high,
    other_category.category_source_name as other_source_name
from adoptions
inner join categories as category
    on adoptions.category_number = category.category_number
inner join categories as other_category
    on adoptions.other_category_number = other_category.category_number
inner join dates
    on adoptions.source_name = dates.source_name
-- No basket holds categories of two shops.
left join baskets
    on
        adoptions.category_number = baskets.category_number
        and adoptions.other_category_number = baskets.other_category_number
        and category.category_source_name = baskets.source_name
        and other_category.category_source_name = baskets.source_name
-- Two categories of one shop are compared in that shop only, by all its customers.
where
    category.category_source_name = adoptions.source_name
    or category.category_source_name <> other_category.category_source_name
