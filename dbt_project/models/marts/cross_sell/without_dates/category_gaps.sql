with

spending as (

    select * from {{ ref('fct_category_spending') }}
    where spending_basis = 'totals without dates'

),

categories as (

    select * from {{ ref('dim_categories') }}

),

pairs as (

    select * from {{ ref('category_ownership') }}

),

-- The number to reach a customer by: the first that they have in the shop.
numbers as (

    select
        customer_key,
        source_name,
        {{ first_known('customer_id', 'position') }} as customer_id
    from {{ ref('customer_numbers') }}
    group by
        customer_key,
        source_name

),

owned as (

    select
        source_name,
        customer_key,
        count(*) as owned_count
    from spending
    group by
        source_name,
        customer_key

),

gaps as (

    select
        owned.source_name,
        owned.customer_key,
        owned.owned_count,
        categories.category_key,
        categories.category_name,
        categories.category_label,
        categories.is_staple,
        categories.penetration
    from owned
    inner join categories
        on
            owned.source_name = categories.source_name
            and categories.customer_count > 0
    left join spending
        on
            owned.customer_key = spending.customer_key
            and categories.category_key = spending.category_key
    where spending.customer_key is null

),

-- What each category that the customer buys says about the one that they do not. Two categories that no customer buys
-- both of are no pair: none is compared with the expected number.
compared as (

    select
        gaps.*,
        spending.category_key as owned_category_key,
        owned_category.category_label as owned_category_label,
        coalesce(
            pairs.ownership_lift,
            {{ lift_prior_customers() }}
            / (gaps.penetration * owned_category.customer_count + {{ lift_prior_customers() }})
        ) as ownership_lift
    from gaps
    inner join spending
        on
            gaps.customer_key = spending.customer_key
            and gaps.source_name = spending.source_name
    inner join categories as owned_category
        on spending.category_key = owned_category.category_key
    left join pairs
        on
            spending.category_key = pairs.category_key
            and gaps.category_key = pairs.other_category_key

),

positions as (

    select
        *,
        row_number() over (
            partition by customer_key, category_key
            order by ownership_lift desc, owned_category_key asc
        ) as position
    from compared

),

measured as (

    select
        source_name,
        customer_key,
        category_key,
        category_name,
        category_label,
        is_staple,
        penetration,
        owned_count,
        round(avg(ownership_lift), 6) as lift,
        max(case when position = 1 then owned_category_key end) as strongest_category_key,
        max(case when position = 1 then owned_category_label end) as strongest_category_label,
        max(case when position = 1 then ownership_lift end) as strongest_lift
    from positions
    group by
        source_name,
        customer_key,
        category_key,
        category_name,
        category_label,
        is_staple,
        penetration,
        owned_count

)

select
    measured.customer_key || ':' || measured.category_key as gap_key,
    measured.source_name,
    measured.customer_key,
    numbers.customer_id,
    measured.category_key,
    measured.category_name,
    measured.category_label,
    measured.is_staple,
    cast(measured.owned_count as bigint) as owned_category_count,
    measured.penetration,
    measured.lift,
    cast(row_number() over (
        partition by measured.customer_key
        order by measured.lift desc, measured.penetration desc, measured.category_key asc
    ) as bigint) as rank,
    measured.strongest_category_key,
    measured.strongest_category_label,
    measured.strongest_lift
from measured
inner join numbers
    on
        measured.customer_key = numbers.customer_key
        and measured.source_name = numbers.source_name
