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

weights as (

    select * from {{ ref('int_score_weights') }}
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

),

-- The baseline is the likelihood without anything about the customer, as int_scores gives it where nothing helps to
-- predict: the category's adoption rate, at the level that was learned.
compared as (

    select
        kept.*,
        case
            when kept.score_basis = 'too little history' then kept.adoption_rate
            else {{ likelihood(log_odds('kept.adoption_rate') ~ ' + weights.level') }}
        end as baseline_likelihood,
        -- Null without a back-test: greatest() and least() would pass the null over.
        case
            when drift.typical_drift is not null
                then {{ likelihood('kept.score - ' ~ z_of_90_percent() ~ ' * drift.typical_drift') }}
        end as likelihood_low,
        case
            when drift.typical_drift is not null
                then {{ likelihood('kept.score + ' ~ z_of_90_percent() ~ ' * drift.typical_drift') }}
        end as likelihood_high
    from kept
    left join weights
        on kept.source_name = weights.source_name
    left join drift
        on kept.source_name = drift.source_name

)

-- Ranks come from unrounded scores; what is published is rounded to the digits that people use.
select
    customers.customer_key || ':' || categories.category_key as opportunity_key,
    compared.source_name,
    customers.customer_key,
    {{ id_of_key('customers.customer_key', 'compared.source_name') }} as customer_id,
    categories.category_key,
    categories.category_name,
    categories.category_label,
    {{ is_staple('categories.penetration') }} as is_staple,
    dates.as_of_date,
    cast({{ var('score_horizon_days') }} as bigint) as horizon_days,
    {{ significant_digits('compared.likelihood', 3) }} as likelihood,
    {{ significant_digits('compared.likelihood_low', 3) }} as likelihood_low,
    {{ significant_digits('compared.likelihood_high', 3) }} as likelihood_high,
    {{ significant_digits('compared.baseline_likelihood', 3) }} as baseline_likelihood,
    round(compared.likelihood / nullif(compared.baseline_likelihood, 0), 2) as lift_over_baseline,
    round(categories.expected_spend, 2) as expected_spend,
    round(compared.likelihood * categories.expected_spend, 4) as expected_value,
    cast(compared.opportunity_rank as bigint) as rank,
    compared.score_basis,
    case when compared.score_basis <> 'too little history' then dates.learned_from_date end as learned_from_date,
    case when compared.score_basis <> 'too little history' then dates.as_of_date end as learned_until_date
from compared
inner join categories
    on compared.category_number = categories.category_number
inner join customers
    on compared.customer_number = customers.customer_number
inner join dates
    on compared.source_name = dates.source_name
