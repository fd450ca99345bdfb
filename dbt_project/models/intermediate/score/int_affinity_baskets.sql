with

lines as (

    select * from {{ ref('int_score_lines') }}

),

-- Each pair once; both orders say the same of its baskets.
pairs as (

    select
        category_number,
        other_category_number
    from {{ ref('int_affinity_adoptions') }}
    where category_number < other_category_number

),

-- One basket has one customer and one day; should a source break that, it still counts once.
baskets as (

    select distinct
        source_name,
        basket_key,
        category_number
    from lines

),

shops as (

    select
        source_name,
        count(distinct basket_key) as basket_total
    from baskets
    group by source_name

),

categories as (

    select
        baskets.source_name,
        baskets.category_number,
        cast(min(shops.basket_total) as double) as basket_total,
        cast(count(*) as double) as basket_count
    from baskets
    inner join shops
        on baskets.source_name = shops.source_name
    group by
        baskets.source_name,
        baskets.category_number

),

together as (

    select
        one.category_number,
        other.category_number as other_category_number,
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

-- Baskets with both, with one of them only, and with neither.
cells as (

    select
        one.source_name,
        pairs.category_number,
        pairs.other_category_number,
        one.basket_total,
        one.basket_count,
        other.basket_count as other_basket_count,
        cast(coalesce(together.both_basket_count, 0) as double) as both_count,
        one.basket_count - coalesce(together.both_basket_count, 0) as one_count,
        other.basket_count - coalesce(together.both_basket_count, 0) as other_count,
        one.basket_total - one.basket_count - other.basket_count
        + coalesce(together.both_basket_count, 0) as neither_count
    from pairs
    inner join categories as one
        on pairs.category_number = one.category_number
    inner join categories as other
        on pairs.other_category_number = other.category_number
    left join together
        on
            pairs.category_number = together.category_number
            and pairs.other_category_number = together.other_category_number

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
        *,
        (both_count + {{ lift_prior_baskets() }}) / (expected_both + {{ lift_prior_baskets() }}) as lift,
        {{ z_of_95_percent() }} / sqrt(both_count + {{ lift_prior_baskets() }}) as lift_margin,
        case when both_count < expected_both then -2 else 2 end * greatest(
            0,
            {{ surprise('both_count', 'expected_both') }}
            + {{ surprise('one_count', 'expected_one') }}
            + {{ surprise('other_count', 'expected_other') }}
            + {{ surprise('neither_count', 'expected_neither') }}
        ) as significance
    from expected

),

both_orders as (

    select
        source_name,
        category_number,
        other_category_number,
        basket_total,
        basket_count,
        other_basket_count,
        both_count,
        lift,
        lift_margin,
        significance
    from measured

    union all

    select
        source_name,
        other_category_number as category_number,
        category_number as other_category_number,
        basket_total,
        other_basket_count as basket_count,
        basket_count as other_basket_count,
        both_count,
        lift,
        lift_margin,
        significance
    from measured

)

select
    source_name,
    category_number,
    other_category_number,
    cast(basket_total as bigint) as basket_total,
    cast(basket_count as bigint) as basket_count,
    cast(other_basket_count as bigint) as other_basket_count,
    cast(both_count as bigint) as both_basket_count,
    both_count / basket_total as support,
    both_count / basket_count as confidence,
    both_count / other_basket_count as other_confidence,
    round(lift, 6) as lift,
    round(lift * exp(-lift_margin), 6) as lift_low,
    round(lift * exp(lift_margin), 6) as lift_high,
    round(significance, 6) as significance
from both_orders
