with

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

-- The windows that have ended, numbered back from the newest by the step at which they begin.
windows as (

    select
        source_name,
        step
    from {{ ref('int_score_dates') }}
    where
        step between 1 and {{ score_learning_windows() }}
        and is_usable

),

customer_totals as (

    select
        source_name,
        count(*) as customer_total
    from customers
    where step = 0
    group by source_name

),

active as (

    select
        customers.source_name,
        customers.customer_number,
        customers.step
    from customers
    inner join windows
        on
            customers.source_name = windows.source_name
            and customers.step = windows.step
    where
        customers.is_active
        and customers.is_sampled

),

-- A category that was sold once counts as sold from then on: it could be begun in its newest windows.
sold as (

    select
        categories.category_number,
        count(*) as window_count
    from categories
    inner join windows
        on
            categories.source_name = windows.source_name
            and categories.step = windows.step
    group by categories.category_number

),

-- Which customer owns which category, in how many windows as an active customer, and whether they began it in a window
-- as an active customer.
owned as (

    select
        adoptions.customer_number,
        adoptions.category_number,
        adoptions.adopted_step,
        sum(case when active.step <= adoptions.adopted_step then 1 else 0 end) as owned_windows,
        max(
            case when active.step > adoptions.adopted_step and active.step <= sold.window_count then 1 else 0 end
        ) as is_begun
    from adoptions
    left join sold
        on adoptions.category_number = sold.category_number
    left join active
        on
            adoptions.customer_number = active.customer_number
            and adoptions.adopted_step >= active.step - 1
    group by
        adoptions.customer_number,
        adoptions.category_number,
        adoptions.adopted_step

),

owners as (

    select
        category_number,
        count(*) as customer_count,
        sum(is_begun) as adopter_count
    from owned
    group by category_number

),

-- Each pair once. A customer owns both from the later of the two adoptions on: the windows in which both were owned are
-- those of the category that was owned in fewer, and only the later one can have been begun by an owner of the other.
pairs as (

    select
        category.category_number,
        other_category.category_number as other_category_number,
        count(*) as both_customer_count,
        sum(least(category.owned_windows, other_category.owned_windows)) as both_owned_windows,
        sum(
            case when category.adopted_step > other_category.adopted_step then other_category.is_begun else 0 end
        ) as other_begun_by_owners,
        sum(
            case when category.adopted_step < other_category.adopted_step then category.is_begun else 0 end
        ) as category_begun_by_owners
    from owned as category
    inner join owned as other_category
        on
            category.customer_number = other_category.customer_number
            and category.category_number < other_category.category_number
    group by
        category.category_number,
        other_category.category_number

),

both_orders as (

    select
        category_number,
        other_category_number,
        both_customer_count,
        both_owned_windows,
        other_begun_by_owners as owner_adopter_count
    from pairs

    union all

    select
        other_category_number as category_number,
        category_number as other_category_number,
        both_customer_count,
        both_owned_windows,
        category_begun_by_owners as owner_adopter_count
    from pairs

),

active_owners as (

    select
        adoptions.category_number,
        active.step,
        count(*) as active_owner_count
    from adoptions
    inner join active
        on
            adoptions.customer_number = active.customer_number
            and adoptions.adopted_step >= active.step
    group by
        adoptions.category_number,
        active.step

),

active_totals as (

    select
        source_name,
        step,
        count(*) as active_count
    from active
    group by
        source_name,
        step

),

-- Active customers, and among them a category's owners, summed over the newest one, two, three windows.
summed as (

    select
        categories.category_number,
        windows.step as window_count,
        sum(coalesce(active_totals.active_count, 0)) over (
            partition by categories.category_number
            order by windows.step
            rows between unbounded preceding and current row
        ) as active_count,
        sum(coalesce(active_owners.active_owner_count, 0)) over (
            partition by categories.category_number
            order by windows.step
            rows between unbounded preceding and current row
        ) as active_owner_count
    from categories
    inner join windows
        on categories.source_name = windows.source_name
    left join active_totals
        on
            windows.source_name = active_totals.source_name
            and windows.step = active_totals.step
    left join active_owners
        on
            categories.category_number = active_owners.category_number
            and windows.step = active_owners.step
    where categories.step = 0

),

-- What is known about a category alone: how many own it, how many could have begun it and how many did.
category_counts as (

    select
        categories.source_name,
        categories.category_number,
        customer_totals.customer_total,
        owners.customer_count,
        sold.window_count,
        cast(coalesce(summed.active_count - summed.active_owner_count, 0) as double) as candidate_count,
        cast(owners.adopter_count as double) as adopter_count
    from categories
    inner join customer_totals
        on categories.source_name = customer_totals.source_name
    inner join owners
        on categories.category_number = owners.category_number
    left join sold
        on categories.category_number = sold.category_number
    left join summed
        on
            sold.category_number = summed.category_number
            and sold.window_count = summed.window_count
    where categories.step = 0

),

counted as (

    select
        category.source_name,
        both_orders.category_number,
        both_orders.other_category_number,
        category.customer_total,
        category.customer_count,
        other_category.customer_count as other_customer_count,
        both_orders.both_customer_count,
        coalesce(summed.active_owner_count - both_orders.both_owned_windows, 0) as owner_candidate_count,
        both_orders.owner_adopter_count,
        other_category.candidate_count,
        other_category.adopter_count,
        case
            when other_category.window_count > 0
                then {{ shrunk_share('other_category.adopter_count', 'other_category.candidate_count') }}
        end as adoption_rate
    from both_orders
    inner join category_counts as category
        on both_orders.category_number = category.category_number
    inner join category_counts as other_category
        on both_orders.other_category_number = other_category.category_number
    left join summed
        on
            both_orders.category_number = summed.category_number
            and other_category.window_count = summed.window_count

),

weighted as (

    select
        *,
        candidate_count - owner_candidate_count as nonowner_candidate_count,
        adopter_count - owner_adopter_count as nonowner_adopter_count,
        greatest(
            {{ adoption_lift_prior_candidates() }}, {{ adoption_lift_prior_adopters() }} / adoption_rate
        ) as prior_weight
    from counted

),

shrunk as (

    select
        *,
        owner_adopter_count + prior_weight * adoption_rate as owner_adopters,
        owner_candidate_count + prior_weight as owner_candidates,
        nonowner_adopter_count + prior_weight * adoption_rate as nonowner_adopters,
        nonowner_candidate_count + prior_weight as nonowner_candidates
    from weighted

),

-- The logarithm of a rate of x in n has a variance of about 1 / x - 1 / n; that of a ratio of two rates is their sum.
with_lift as (

    select
        *,
        owner_adopters / owner_candidates as owner_adoption_rate,
        nonowner_adopters / nonowner_candidates as nonowner_adoption_rate,
        (owner_adopters / owner_candidates) / (nonowner_adopters / nonowner_candidates) as adoption_lift,
        {{ z_of_95_percent() }} * sqrt(
            1 / owner_adopters - 1 / owner_candidates + 1 / nonowner_adopters - 1 / nonowner_candidates
        ) as adoption_margin
    from shrunk

)

select
    source_name,
    category_number,
    other_category_number,
    cast(customer_total as bigint) as customer_total,
    cast(customer_count as bigint) as customer_count,
    cast(other_customer_count as bigint) as other_customer_count,
    cast(both_customer_count as bigint) as both_customer_count,
    cast(owner_candidate_count as bigint) as owner_candidate_count,
    cast(owner_adopter_count as bigint) as owner_adopter_count,
    cast(nonowner_candidate_count as bigint) as nonowner_candidate_count,
    cast(nonowner_adopter_count as bigint) as nonowner_adopter_count,
    round(owner_adoption_rate, 8) as owner_adoption_rate,
    round(nonowner_adoption_rate, 8) as nonowner_adoption_rate,
    round(adoption_lift, 6) as adoption_lift,
    round(adoption_lift * exp(-adoption_margin), 6) as adoption_lift_low,
    round(adoption_lift * exp(adoption_margin), 6) as adoption_lift_high
from with_lift
