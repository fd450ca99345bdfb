with

spending as (

    select * from {{ ref('fct_category_spending') }}
    where spending_basis = 'totals without dates'

),

categories as (

    select * from {{ ref('dim_categories') }}

),

shops as (

    select
        source_name,
        count(distinct customer_key) as customer_total
    from spending
    group by source_name

),

owners as (

    select
        category_key,
        count(*) as customer_count
    from spending
    group by category_key

),

pairs as (

    select
        spending.source_name,
        spending.category_key,
        other_spending.category_key as other_category_key,
        count(*) as both_customer_count
    from spending
    inner join spending as other_spending
        on
            spending.customer_key = other_spending.customer_key
            and spending.category_key <> other_spending.category_key
    group by
        spending.source_name,
        spending.category_key,
        other_spending.category_key

),

counted as (

    select
        pairs.source_name,
        pairs.category_key,
        pairs.other_category_key,
        cast(shops.customer_total as double) as customer_total,
        cast(owners.customer_count as double) as customer_count,
        cast(other_owners.customer_count as double) as other_customer_count,
        cast(pairs.both_customer_count as double) as both_count,
        owners.customer_count - pairs.both_customer_count as category_only_count,
        other_owners.customer_count - pairs.both_customer_count as other_only_count,
        shops.customer_total - owners.customer_count - other_owners.customer_count + pairs.both_customer_count
            as neither_count
    from pairs
    inner join shops
        on pairs.source_name = shops.source_name
    inner join owners
        on pairs.category_key = owners.category_key
    inner join owners as other_owners
        on pairs.other_category_key = other_owners.category_key

),

expected_counts as (

    select
        *,
        customer_count * other_customer_count / customer_total as expected_both,
        customer_count * (customer_total - other_customer_count) / customer_total as expected_category_only,
        (customer_total - customer_count) * other_customer_count / customer_total as expected_other_only,
        (customer_total - customer_count) * (customer_total - other_customer_count) / customer_total
            as expected_neither
    from counted

)

select
    expected_counts.source_name,
    expected_counts.category_key,
    category.category_name,
    category.category_label,
    expected_counts.other_category_key,
    other_category.category_name as other_category_name,
    other_category.category_label as other_category_label,
    cast(expected_counts.customer_total as bigint) as customer_total,
    cast(expected_counts.customer_count as bigint) as customer_count,
    cast(expected_counts.other_customer_count as bigint) as other_customer_count,
    cast(expected_counts.both_count as bigint) as both_customer_count,
    round(
        (expected_counts.both_count + {{ lift_prior_customers() }})
        / (expected_counts.expected_both + {{ lift_prior_customers() }}),
        6
    ) as ownership_lift,
    round(
        case when expected_counts.both_count < expected_counts.expected_both then -1 else 1 end
        * {{ log_likelihood_ratio({
            'both_count': 'expected_both',
            'category_only_count': 'expected_category_only',
            'other_only_count': 'expected_other_only',
            'neither_count': 'expected_neither',
        }) }},
        6
    ) as log_likelihood_ratio
from expected_counts
inner join categories as category
    on expected_counts.category_key = category.category_key
inner join categories as other_category
    on expected_counts.other_category_key = other_category.category_key
