-- Who began which category in the horizon after a date, of those who could and who are learned from.
select
    customers.source_name,
    customers.step,
    customers.customer_number,
    exclusions.category_number,
    customers.owned_count,
    customers.sample_letter,
    customers.sample_letter = categories.sample_letter as has_same_letter
from {{ ref('int_score_exclusions') }} as exclusions
inner join {{ ref('int_score_customers') }} as customers
    on
        exclusions.customer_number = customers.customer_number
        and exclusions.adopted_step + 1 = customers.step
inner join {{ ref('int_score_categories') }} as categories
    on
        customers.step = categories.step
        and exclusions.category_number = categories.category_number
where
    exclusions.excluded_step = exclusions.adopted_step
    and customers.is_active
    and customers.is_sampled
