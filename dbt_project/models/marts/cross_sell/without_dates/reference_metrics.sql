{{ config(enabled='crm' in var('sources')) }}
{#- What the template weighs each category with; the weights add up to 1.2. -#}
{% set weights = {
    'mnt_wines': 0.25,
    'mnt_meat_products': 0.20,
    'mnt_fish_products': 0.15,
    'mnt_sweet_products': 0.10,
    'mnt_gold_prods': 0.30,
    'mnt_fruits': 0.20,
} -%}
with

sent as (

    select * from {{ ref('base_crm__customers') }}

),

counted as (

    select * from {{ ref('int_customers') }}
    where
        source_name = 'crm'
        and rejection_reason is null

),

undated_customers as (

    select * from {{ ref('int_undated_customers') }}
    where source_name = 'crm'

),

numbers as (

    select * from {{ ref('customer_numbers') }}
    where source_name = 'crm'

),

spending as (

    select
        customer_id,
        sum(amount) as total_spending,
        count(*) as bought_category_count
    from {{ ref('int_category_totals') }}
    where
        source_name = 'crm'
        and rejection_reason is null
    group by customer_id

),

categories as (

    select count(*) as category_count
    from {{ ref('dim_categories') }}
    where source_name = 'crm'

),

gaps as (

    select
        *,
        row_number() over (
            partition by customer_key
            order by rank asc
        ) as rank_in_shop
    from {{ ref('category_gaps') }}
    where source_name = 'crm'

),

-- The file's row of each customer. Where it has a number twice, the larger values: they only grow.
rows_that_count as (

    select
        counted.customer_id,
        min(counted.country) as country,
        {%- for column in weights %}
            max(sent.{{ column }}) as {{ column }},
        {%- endfor %}
        max(sent.num_web_purchases) as web_purchases,
        max(sent.num_catalog_purchases) as catalog_purchases,
        max(sent.num_store_purchases) as store_purchases
    from counted
    inner join sent
        on
            counted.customer_id = cast(sent.id as {{ dbt.type_string() }})
            and counted.delivery = sent._delivery
            and counted.load_id = sent._dlt_load_id
    group by counted.customer_id

)

select
    numbers.source_name,
    numbers.customer_id,
    numbers.customer_key,
    rows_that_count.country,
    cast(rows_that_count.web_purchases as bigint) as web_purchases,
    cast(rows_that_count.catalog_purchases as bigint) as catalog_purchases,
    cast(rows_that_count.store_purchases as bigint) as store_purchases,
    cast(
        rows_that_count.web_purchases + rows_that_count.catalog_purchases
        + rows_that_count.store_purchases + rows_that_count.store_purchases
        as bigint
    ) as purchase_frequency_as_published,
    cast(undated_customers.stated_purchases as bigint) as purchases,
    cast(
        {%- for column in weights %}
            {{ '+ ' if not loop.first }}rows_that_count.{{ column }}
        {%- endfor %}
        as decimal(18, 2)
    ) as total_spending_as_published,
    cast(coalesce(spending.total_spending, 0) as decimal(18, 2)) as total_spending,
    round(
        cast(
            {%- for column, weight in weights.items() %}
                {{ '+ ' if not loop.first }}rows_that_count.{{ column }} * {{ weight }}
            {%- endfor %}
            as double
        )
        / (
            rows_that_count.web_purchases + rows_that_count.catalog_purchases + rows_that_count.store_purchases + 1
        ),
        6
    ) as cross_sell_opportunity_score_as_published,
    cast(null as double) as cross_sell_opportunity_score,
    cast(coalesce(spending.bought_category_count, 0) as bigint) as bought_category_count,
    cast(categories.category_count - coalesce(spending.bought_category_count, 0) as bigint) as open_category_count,
    gaps.category_label as best_gap_category_label,
    gaps.lift as best_gap_lift
from rows_that_count
inner join numbers
    on rows_that_count.customer_id = numbers.customer_id
inner join undated_customers
    on rows_that_count.customer_id = undated_customers.customer_id
cross join categories
left join spending
    on rows_that_count.customer_id = spending.customer_id
left join gaps
    on
        numbers.customer_key = gaps.customer_key
        and gaps.rank_in_shop = 1
