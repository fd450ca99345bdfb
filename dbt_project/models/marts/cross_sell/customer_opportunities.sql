with

scores as (

    select * from {{ ref('int_scores') }}
    where step = 0

),

categories as (

    select * from {{ ref('int_score_categories') }}
    where step = 0

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where step = 0

),

numbers as (

    select * from {{ ref('customer_numbers') }}

),

usual_parts as (

    select * from {{ ref('int_score_usual_parts') }}

),

-- The number to reach a customer by: the first that they have in a shop.
shop_numbers as (

    select
        customer_key,
        source_name,
        {{ first_known('customer_id', 'position') }} as customer_id
    from numbers
    group by
        customer_key,
        source_name

),

ranked as (

    select
        scores.*,
        row_number() over (
            partition by scores.customer_number, categories.category_source_name
            order by round(scores.score, 9) desc, scores.popularity desc, scores.category_number asc
        ) as opportunity_rank
    from scores
    inner join categories
        on scores.category_number = categories.category_number

),

kept as (

    select * from ranked
    {%- if var('score_keep_per_customer') > 0 %}
        where opportunity_rank <= {{ var('score_keep_per_customer') }}
    {%- endif %}

),

dates as (

    select
        source_name,
        max(case when step = 0 then as_of_date end) as as_of_date,
        min(
            case when step between 1 and {{ score_learning_windows() }} then as_of_date end
        ) as learned_from_date
    from {{ ref('int_score_dates') }}
    group by source_name

)

-- Ranks come from unrounded scores; what is published is rounded to the digits that people use.
select
    customers.customer_key || ':' || categories.category_key as opportunity_key,
    categories.category_source_name as source_name,
    customers.customer_key,
    coalesce(shop_numbers.customer_id, first_numbers.customer_id) as customer_id,
    categories.category_key,
    categories.category_name,
    categories.category_label,
    {{ is_staple('categories.penetration') }} as is_staple,
    dates.as_of_date,
    cast({{ var('score_horizon_days') }} as bigint) as horizon_days,
    {{ significant_digits('kept.likelihood', 3) }} as likelihood,
    {{ significant_digits('kept.likelihood_low', 3) }} as likelihood_low,
    {{ significant_digits('kept.likelihood_high', 3) }} as likelihood_high,
    {{ significant_digits('kept.baseline_likelihood', 3) }} as baseline_likelihood,
    round(kept.likelihood / nullif(kept.baseline_likelihood, 0), 2) as lift_over_baseline,
    {%- for group in score_feature_groups() %}
        round(exp(usual_parts.trust * (kept.{{ group }} - usual_parts.{{ group }})), 2) as {{ group }}_lift,
    {%- endfor %}
    round(kept.expected_spend, 2) as expected_spend,
    round(kept.likelihood * kept.expected_spend, 4) as expected_value,
    cast(kept.opportunity_rank as bigint) as rank,
    kept.score_basis,
    case when kept.score_basis <> 'too little history' then dates.learned_from_date end as learned_from_date,
    case when kept.score_basis <> 'too little history' then dates.as_of_date end as learned_until_date,
    coalesce(shop_numbers.source_name, first_numbers.source_name) as customer_source_name,
    categories.category_source_name <> kept.source_name as is_new_to_shop
from kept
inner join categories
    on kept.category_number = categories.category_number
inner join customers
    on kept.customer_number = customers.customer_number
inner join dates
    on kept.source_name = dates.source_name
left join usual_parts
    on
        kept.source_name = usual_parts.source_name
        and kept.category_number = usual_parts.category_number
left join shop_numbers
    on
        customers.customer_key = shop_numbers.customer_key
        and categories.category_source_name = shop_numbers.source_name
left join numbers as first_numbers
    on
        customers.customer_key = first_numbers.customer_key
        and first_numbers.position = 1
