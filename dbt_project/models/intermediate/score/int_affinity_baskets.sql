with

lines as (

    select * from {{ ref('int_score_lines') }}

),

-- Each pair once; its baskets are the same in both orders.
pairs as (

    select
        category_number,
        other_category_number
    from {{ ref('int_affinity_adoptions') }}
    where category_number < other_category_number

),

-- A basket has one customer and one day; if a source breaks that, it still counts once.
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

basket_pairs as (

    select
        category.category_number,
        other_category.category_number as other_category_number,
        count(*) as both_basket_count
    from baskets as category
    inner join baskets as other_category
        on
            category.basket_key = other_category.basket_key
            and category.category_number < other_category.category_number
    group by
        category.category_number,
        other_category.category_number

),

-- Baskets with both, with one of them only, and with neither.
cells as (

    select
        category.source_name,
        pairs.category_number,
        pairs.other_category_number,
        category.basket_total,
        category.basket_count,
        other_category.basket_count as other_basket_count,
        cast(coalesce(basket_pairs.both_basket_count, 0) as double) as both_count,
        category.basket_count - coalesce(basket_pairs.both_basket_count, 0) as category_only_count,
        other_category.basket_count - coalesce(basket_pairs.both_basket_count, 0) as other_only_count,
        category.basket_total - category.basket_count - other_category.basket_count
        + coalesce(basket_pairs.both_basket_count, 0) as neither_count
    from pairs
    inner join categories as category
        on pairs.category_number = category.category_number
    inner join categories as other_category
        on pairs.other_category_number = other_category.category_number
    left join basket_pairs
        on
            pairs.category_number = basket_pairs.category_number
            and pairs.other_category_number = basket_pairs.other_category_number

),

expected_counts as (

    select
        *,
        basket_count * other_basket_count / basket_total as expected_both,
        basket_count * (basket_total - other_basket_count) / basket_total as expected_category_only,
        (basket_total - basket_count) * other_basket_count / basket_total as expected_other_only,
        (basket_total - basket_count) * (basket_total - other_basket_count) / basket_total as expected_neither
    from cells

),

measured as (

    select
        *,
        (both_count + {{ lift_prior_baskets() }}) / (expected_both + {{ lift_prior_baskets() }}) as lift,
        {{ z_of_95_percent() }} / sqrt(both_count + {{ lift_prior_baskets() }}) as lift_margin,
        case when both_count < expected_both then -1 else 1 end * {{ log_likelihood_ratio({
            'both_count': 'expected_both',
            'category_only_count': 'expected_category_only',
            'other_only_count': 'expected_other_only',
            'neither_count': 'expected_neither',
        }) }} as log_likelihood_ratio
    from expected_counts

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
        log_likelihood_ratio
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
        log_likelihood_ratio
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
    round(log_likelihood_ratio, 6) as log_likelihood_ratio
from both_orders
