-- Customers who own many categories own most pairs of them, which says nothing about the pair. So the number of
-- customers who own both is compared with the number expected under a rank-one model, in which customer u owns
-- category i with probability n(u) d(i) / N: n is the number of categories that the customer owns, d the number of the
-- category's owners, and N the sum of either. The covariance of the residuals, divided by their standard deviations, is
-- what owning one category says about the other.
with

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

sampled as (

    select customer_number
    from {{ ref('int_score_customers') }}
    where
        step = 0
        and is_sampled

),

owned as (

    select
        adoptions.source_name,
        adoptions.customer_number,
        adoptions.category_number,
        adoptions.adopted_step
    from adoptions
    inner join sampled
        on adoptions.customer_number = sampled.customer_number

),

-- Both are owned from the later of the two adoptions on.
owned_together as (

    select
        category.source_name,
        category.category_number,
        other_category.category_number as other_number,
        least(category.adopted_step, other_category.adopted_step) as step,
        count(*) as customer_count
    from owned as category
    inner join owned as other_category
        on
            category.customer_number = other_category.customer_number
            and category.category_number < other_category.category_number
    group by
        category.source_name,
        category.category_number,
        other_category.category_number,
        least(category.adopted_step, other_category.adopted_step)

),

both_owners as (

    select
        owned_together.source_name,
        dates.step,
        owned_together.category_number,
        owned_together.other_number,
        sum(owned_together.customer_count) as both_count
    from owned_together
    inner join {{ ref('int_score_dates') }} as dates
        on
            owned_together.source_name = dates.source_name
            and owned_together.step >= dates.step
    group by
        owned_together.source_name,
        dates.step,
        owned_together.category_number,
        owned_together.other_number

),

categories_with_variance as (

    select
        *,
        greatest(
            0,
            sampled_owner_count
            - 2.0 * sampled_owner_count * sampled_owners_breadth / sampled_breadth
            + sampled_owner_count * share_of_ownership * sampled_squared_breadth / sampled_breadth
        ) as variance
    from categories
    where sampled_breadth > 0

),

pairs as (

    select
        both_owners.source_name,
        both_owners.step,
        both_owners.category_number,
        both_owners.other_number,
        both_owners.both_count,
        (
            category.sampled_owner_count * 1.0 * other_category.sampled_owners_breadth
            + other_category.sampled_owner_count * 1.0 * category.sampled_owners_breadth
        ) / category.sampled_breadth
        - category.share_of_ownership * other_category.share_of_ownership * category.sampled_squared_breadth
            as expected_count,
        sqrt(
            (category.variance + {{ co_ownership_prior_customers() }})
            * (other_category.variance + {{ co_ownership_prior_customers() }})
        ) as scale,
        category.share_of_ownership,
        other_category.share_of_ownership as other_share_of_ownership
    -- Both categories are there, so inner joins would give the same rows; but a planner could then join all categories
    -- of a date with each other first.
    from both_owners
    left join categories_with_variance as category
        on
            both_owners.step = category.step
            and both_owners.category_number = category.category_number
    left join categories_with_variance as other_category
        on
            both_owners.step = other_category.step
            and both_owners.other_number = other_category.category_number

),

directed as (

    select
        source_name,
        step,
        category_number as owned_number,
        other_number as wanted_number,
        both_count,
        share_of_ownership as owned_share,
        (both_count - expected_count) / scale as residual_co_ownership
    from pairs

    union all

    select
        source_name,
        step,
        other_number as owned_number,
        category_number as wanted_number,
        both_count,
        other_share_of_ownership as owned_share,
        (both_count - expected_count) / scale as residual_co_ownership
    from pairs

),

ranked as (

    select
        *,
        row_number() over (
            partition by step, wanted_number
            order by abs(residual_co_ownership) desc, owned_number asc
        ) as residual_rank
    from directed

)

select
    source_name,
    step,
    owned_number,
    wanted_number,
    both_count,
    owned_share,
    residual_co_ownership,
    sum(residual_co_ownership * owned_share) over (partition by step, wanted_number) as mean_residual_co_ownership
from ranked
where residual_rank <= {{ co_ownership_neighbours() }}
