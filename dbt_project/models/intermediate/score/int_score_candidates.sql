{{ config(materialized='view') }}
-- A candidate: an active customer and a category that was sold and that the customer did not own.
select
    customers.source_name,
    customers.step,
    customers.customer_number,
    categories.category_number,
    customers.owned_count,
    customers.is_sampled,
    customers.sample_letter,
    customers.sample_letter = categories.sample_letter as has_same_letter,
    customers.is_scored,
    case
        when customers.step = 0 then null
        when exclusions.adopted_step = customers.step - 1 then 1
        else 0
    end as adopted
from {{ ref('int_score_customers') }} as customers
inner join {{ ref('int_score_categories') }} as categories
    on
        customers.source_name = categories.source_name
        and customers.step = categories.step
left join {{ ref('int_score_exclusions') }} as exclusions
    on
        customers.customer_number = exclusions.customer_number
        and categories.category_number = exclusions.category_number
where
    customers.is_active
    and (exclusions.excluded_step is null or exclusions.excluded_step < customers.step)
