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

backtest as (

    select * from {{ ref('score_backtest') }}
    where
        method = 'score'
        and predicted_over_observed > 0

),

ranked as (

    select
        *,
        row_number() over (
            partition by customer_number
            order by round(score, 9) desc, popularity desc, category_number asc
        ) as opportunity_rank
    from scores

),

kept as (

    select * from ranked
    {%- if var('score_keep_per_customer') > 0 %}
        where opportunity_rank <= {{ var('score_keep_per_customer') }}
    {%- endif %}

),

-- How far the level of all likelihoods was off at the dates that the back-test judged, as a factor on the log scale.
drift as (

    select
        source_name,
        sqrt(
            (
                sum(ln(predicted_over_observed) * ln(predicted_over_observed))
                + {{ drift_prior_dates() }} * {{ drift_prior() }} * {{ drift_prior() }}
            )
            / (count(*) + {{ drift_prior_dates() }})
        ) as typical_drift
    from backtest
    group by source_name

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

-- Sums of fractions differ in their last digits from build to build: these are rounded to digits that do not.
select
    customers.customer_key || ':' || categories.category_key as opportunity_key,
    kept.source_name,
    customers.customer_key,
    categories.category_key,
    categories.category_name,
    dates.as_of_date,
    cast({{ var('score_horizon_days') }} as bigint) as horizon_days,
    round(kept.likelihood, 9) as likelihood,
    -- Null without a back-test: greatest() and least() would pass the null over.
    case
        when drift.typical_drift is not null
            then round({{ likelihood('kept.score - ' ~ z_of_90_percent() ~ ' * drift.typical_drift') }}, 9)
    end as likelihood_low,
    case
        when drift.typical_drift is not null
            then round({{ likelihood('kept.score + ' ~ z_of_90_percent() ~ ' * drift.typical_drift') }}, 9)
    end as likelihood_high,
    round(categories.expected_spend, 6) as expected_spend,
    round(kept.likelihood * categories.expected_spend, 6) as expected_value,
    cast(kept.opportunity_rank as bigint) as rank,
    kept.score_basis,
    case when kept.score_basis <> 'too little history' then dates.learned_from_date end as learned_from_date,
    case when kept.score_basis <> 'too little history' then dates.as_of_date end as learned_until_date
from kept
inner join categories
    on kept.category_number = categories.category_number
inner join customers
    on kept.customer_number = customers.customer_number
inner join dates
    on kept.source_name = dates.source_name
left join drift
    on kept.source_name = drift.source_name
