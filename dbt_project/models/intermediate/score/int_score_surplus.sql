-- Who owns much owns most things together, which says nothing about the two. So the number of customers who own both
-- is compared with the number expected from how many categories each of them owns and how widely each category is
-- owned: customer u is expected to own category i with probability n(u) d(i) / N, where n is the number of categories
-- the customer owns, d the number of the category's owners and N the sum of either. The covariance of what is left,
-- over the standard deviations, is what owning one says about the other.
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
        adoptions.customer_number,
        adoptions.category_number,
        adoptions.adopted_step
    from adoptions
    inner join sampled
        on adoptions.customer_number = sampled.customer_number

),

-- Both are owned from the later of the two adoptions on.
began as (

    select
        one.category_number,
        other.category_number as other_number,
        least(one.adopted_step, other.adopted_step) as step,
        count(*) as customer_count
    from owned as one
    inner join owned as other
        on
            one.customer_number = other.customer_number
            and one.category_number < other.category_number
    group by
        one.category_number,
        other.category_number,
        least(one.adopted_step, other.adopted_step)

),

owners as (

    select
        one.source_name,
        one.step,
        one.category_number,
        other.category_number as other_number,
        sum(began.customer_count) as both_count
    from began
    inner join categories as one
        on
            began.category_number = one.category_number
            and began.step >= one.step
    inner join categories as other
        on
            began.other_number = other.category_number
            and one.step = other.step
    group by
        one.source_name,
        one.step,
        one.category_number,
        other.category_number

),

spread as (

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
        owners.source_name,
        owners.step,
        owners.category_number,
        owners.other_number,
        owners.both_count,
        (
            one.sampled_owner_count * 1.0 * other.sampled_owners_breadth
            + other.sampled_owner_count * 1.0 * one.sampled_owners_breadth
        ) / one.sampled_breadth
        - one.share_of_ownership * other.share_of_ownership * one.sampled_squared_breadth as expected_count,
        sqrt(
            (one.variance + {{ surplus_prior_customers() }}) * (other.variance + {{ surplus_prior_customers() }})
        ) as scale,
        one.share_of_ownership,
        other.share_of_ownership as other_share_of_ownership
    from owners
    inner join spread as one
        on
            owners.step = one.step
            and owners.category_number = one.category_number
    inner join spread as other
        on
            owners.step = other.step
            and owners.other_number = other.category_number

),

directed as (

    select
        source_name,
        step,
        category_number as owned_number,
        other_number as wanted_number,
        share_of_ownership as owned_share,
        (both_count - expected_count) / scale as surplus
    from pairs

    union all

    select
        source_name,
        step,
        other_number as owned_number,
        category_number as wanted_number,
        other_share_of_ownership as owned_share,
        (both_count - expected_count) / scale as surplus
    from pairs

),

ranked as (

    select
        *,
        row_number() over (
            partition by step, wanted_number
            order by abs(surplus) desc, owned_number asc
        ) as surplus_rank
    from directed

)

select
    source_name,
    step,
    owned_number,
    wanted_number,
    surplus,
    sum(surplus * owned_share) over (partition by step, wanted_number) as expected_surplus
from ranked
where surplus_rank <= {{ surplus_neighbours() }}
