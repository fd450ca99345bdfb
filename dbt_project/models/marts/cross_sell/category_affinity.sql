{#- A lift is shrunk as if so many baskets more held both, and were expected to: a pair seen once stays near 1. -#}
{%- set prior_baskets = 5 -%}
{#- An adoption rate is shrunk towards that of all customers by the weight of so many candidates, or of as many as bring
    so many adopters: where few begin at all, one of them would otherwise make an owner eighty times as likely. -#}
{%- set prior_candidates = 500 -%}
{%- set prior_adopters = 5 -%}
{#- 95 % of a normal distribution lie within so many standard deviations. -#}
{%- set z = 1.96 -%}
with

lines as (

    select * from {{ ref('int_score_lines') }}

),

buying as (

    select * from {{ ref('int_score_buying') }}
    where step = adopted_step

),

customers as (

    select * from {{ ref('int_score_customers') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

dates as (

    select * from {{ ref('int_score_dates') }}

),

-- One basket has one customer and one day; should a source break that, it still counts once.
baskets as (

    select distinct
        source_name,
        basket_key,
        category_number
    from lines

),

basket_totals as (

    select
        source_name,
        count(distinct basket_key) as basket_total
    from baskets
    group by source_name

),

category_baskets as (

    select
        category_number,
        count(*) as basket_count
    from baskets
    group by category_number

),

pair_baskets as (

    select
        one.category_number,
        other.category_number as other_number,
        count(*) as both_basket_count
    from baskets as one
    inner join baskets as other
        on
            one.basket_key = other.basket_key
            and one.category_number < other.category_number
    group by
        one.category_number,
        other.category_number

),

customer_totals as (

    select
        source_name,
        count(*) as customer_total
    from customers
    where step = 0
    group by source_name

),

-- The windows that have ended, numbered back from the newest by the step at which they begin.
windows as (

    select
        source_name,
        step
    from dates
    where
        step between 1 and {{ score_learning_windows() }}
        and is_usable

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

-- What is sold once stays: the windows in which a category could be begun are its newest ones.
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

-- Who owns what, in how many windows as an active customer, and whether an active customer began it in a window.
owned as (

    select
        buying.customer_number,
        buying.category_number,
        buying.step,
        sum(case when active.step <= buying.step then 1 else 0 end) as owned_windows,
        max(case when active.step > buying.step and active.step <= sold.window_count then 1 else 0 end) as began
    from buying
    left join sold
        on buying.category_number = sold.category_number
    left join active
        on
            buying.customer_number = active.customer_number
            and buying.step >= active.step - 1
    group by
        buying.customer_number,
        buying.category_number,
        buying.step

),

owners as (

    select
        category_number,
        count(*) as customer_count,
        sum(began) as adopter_count
    from owned
    group by category_number

),

-- Each pair once. Who owns both does so from the later of the two adoptions on: the windows in which both were owned
-- are those of the category that was owned in fewer, and only the later one can have been begun by an owner.
pairs as (

    select
        one.category_number,
        other.category_number as other_number,
        count(*) as both_customer_count,
        sum(least(one.owned_windows, other.owned_windows)) as both_owned_windows,
        sum(case when one.step > other.step then other.began else 0 end) as other_begun_by_owners,
        sum(case when one.step < other.step then one.began else 0 end) as one_begun_by_owners
    from owned as one
    inner join owned as other
        on
            one.customer_number = other.customer_number
            and one.category_number < other.category_number
    group by
        one.category_number,
        other.category_number

),

active_owners as (

    select
        buying.category_number,
        active.step,
        count(*) as active_owner_count
    from buying
    inner join active
        on
            buying.customer_number = active.customer_number
            and buying.step >= active.step
    group by
        buying.category_number,
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

facts as (

    select
        categories.source_name,
        dates.as_of_date,
        categories.category_number,
        categories.category_key,
        categories.category_name,
        cast(basket_totals.basket_total as double) as basket_total,
        cast(category_baskets.basket_count as double) as basket_count,
        customer_totals.customer_total,
        owners.customer_count,
        sold.window_count,
        cast(coalesce(summed.active_count - summed.active_owner_count, 0) as double) as candidate_count,
        cast(owners.adopter_count as double) as adopter_count
    from categories
    inner join dates
        on
            categories.source_name = dates.source_name
            and categories.step = dates.step
    inner join basket_totals
        on categories.source_name = basket_totals.source_name
    inner join category_baskets
        on categories.category_number = category_baskets.category_number
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

-- Baskets with both, with one of them only, and with neither.
cells as (

    select
        pairs.category_number,
        pairs.other_number,
        one.basket_total,
        one.basket_count,
        other.basket_count as other_basket_count,
        cast(coalesce(pair_baskets.both_basket_count, 0) as double) as both_count,
        one.basket_count - coalesce(pair_baskets.both_basket_count, 0) as one_count,
        other.basket_count - coalesce(pair_baskets.both_basket_count, 0) as other_count,
        one.basket_total - one.basket_count - other.basket_count
        + coalesce(pair_baskets.both_basket_count, 0) as neither_count
    from pairs
    inner join facts as one
        on pairs.category_number = one.category_number
    inner join facts as other
        on pairs.other_number = other.category_number
    left join pair_baskets
        on
            pairs.category_number = pair_baskets.category_number
            and pairs.other_number = pair_baskets.other_number

),

expected as (

    select
        *,
        basket_count * other_basket_count / basket_total as expected_both,
        basket_count * (basket_total - other_basket_count) / basket_total as expected_one,
        (basket_total - basket_count) * other_basket_count / basket_total as expected_other,
        (basket_total - basket_count) * (basket_total - other_basket_count) / basket_total as expected_neither
    from cells

),

measured as (

    select
        category_number,
        other_number,
        both_count as both_basket_count,
        both_count / basket_total as support,
        (both_count + {{ prior_baskets }}) / (expected_both + {{ prior_baskets }}) as lift,
        {{ z }} / sqrt(both_count + {{ prior_baskets }}) as lift_margin,
        case when both_count < expected_both then -2 else 2 end * greatest(
            0,
            {{ surprise('both_count', 'expected_both') }}
            + {{ surprise('one_count', 'expected_one') }}
            + {{ surprise('other_count', 'expected_other') }}
            + {{ surprise('neither_count', 'expected_neither') }}
        ) as significance
    from expected

),

-- Both orders, so that whoever looks for one category finds all its partners.
directed as (

    select
        category_number,
        other_number,
        both_customer_count,
        both_owned_windows,
        other_begun_by_owners as owner_adopter_count,
        category_number as lower_number,
        other_number as higher_number
    from pairs

    union all

    select
        other_number as category_number,
        category_number as other_number,
        both_customer_count,
        both_owned_windows,
        one_begun_by_owners as owner_adopter_count,
        category_number as lower_number,
        other_number as higher_number
    from pairs

),

adopted as (

    select
        one.source_name,
        one.as_of_date,
        one.category_key,
        one.category_name,
        other.category_key as other_category_key,
        other.category_name as other_category_name,
        one.basket_total,
        one.basket_count,
        other.basket_count as other_basket_count,
        measured.both_basket_count,
        measured.support,
        measured.lift,
        measured.lift_margin,
        measured.significance,
        one.customer_total,
        one.customer_count,
        other.customer_count as other_customer_count,
        directed.both_customer_count,
        coalesce(summed.active_owner_count - directed.both_owned_windows, 0) as owner_candidate_count,
        directed.owner_adopter_count,
        other.candidate_count,
        other.adopter_count,
        case
            when other.window_count > 0 then (other.adopter_count + 1) / (other.candidate_count + 50)
        end as adoption_rate
    from directed
    inner join measured
        on
            directed.lower_number = measured.category_number
            and directed.higher_number = measured.other_number
    inner join facts as one
        on directed.category_number = one.category_number
    inner join facts as other
        on directed.other_number = other.category_number
    left join summed
        on
            directed.category_number = summed.category_number
            and other.window_count = summed.window_count

),

weighed as (

    select
        *,
        candidate_count - owner_candidate_count as nonowner_candidate_count,
        adopter_count - owner_adopter_count as nonowner_adopter_count,
        greatest({{ prior_candidates }}, {{ prior_adopters }} / adoption_rate) as prior_weight
    from adopted

),

shrunk as (

    select
        *,
        owner_adopter_count + prior_weight * adoption_rate as owner_adopters,
        owner_candidate_count + prior_weight as owner_candidates,
        nonowner_adopter_count + prior_weight * adoption_rate as nonowner_adopters,
        nonowner_candidate_count + prior_weight as nonowner_candidates
    from weighed

),

-- The logarithm of a rate of x in n has a variance of about 1 / x - 1 / n; that of a ratio of two rates is their sum.
compared as (

    select
        *,
        owner_adopters / owner_candidates as owner_adoption_rate,
        nonowner_adopters / nonowner_candidates as nonowner_adoption_rate,
        (owner_adopters / owner_candidates) / (nonowner_adopters / nonowner_candidates) as adoption_lift,
        {{ z }} * sqrt(
            1 / owner_adopters - 1 / owner_candidates + 1 / nonowner_adopters - 1 / nonowner_candidates
        ) as adoption_margin
    from shrunk

)

select
    source_name,
    as_of_date,
    category_key,
    category_name,
    other_category_key,
    other_category_name,
    cast(basket_total as bigint) as basket_total,
    cast(basket_count as bigint) as basket_count,
    cast(other_basket_count as bigint) as other_basket_count,
    cast(both_basket_count as bigint) as both_basket_count,
    support,
    both_basket_count / basket_count as confidence,
    both_basket_count / other_basket_count as other_confidence,
    round(lift, 6) as lift,
    round(lift * exp(-lift_margin), 6) as lift_low,
    round(lift * exp(lift_margin), 6) as lift_high,
    round(significance, 6) as significance,
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
from compared
