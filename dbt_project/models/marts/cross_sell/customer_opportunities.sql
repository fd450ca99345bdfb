with

scores as (

    select * from {{ ref('int_scores') }}
    where step = 0

),

categories as (

    select * from {{ ref('int_score_categories') }}
    where step = 0

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

-- What owning one category says for another: it counts in the score, and those who own the one did begin with the other
-- more often than those who do not.
evidence as (

    select
        surplus.owned_number,
        surplus.wanted_number,
        surplus.surplus,
        affinity.category_name as owned_name,
        affinity.adoption_lift
    from {{ ref('int_score_surplus') }} as surplus
    inner join {{ ref('int_score_weights') }} as weights
        on
            surplus.source_name = weights.source_name
            and surplus.step = weights.step
    inner join categories as owned
        on surplus.owned_number = owned.category_number
    inner join categories as wanted
        on surplus.wanted_number = wanted.category_number
    inner join {{ ref('category_affinity') }} as affinity
        on
            owned.category_key = affinity.category_key
            and wanted.category_key = affinity.other_category_key
    where
        surplus.step = 0
        and surplus.surplus > 0
        and weights.has_signal
        and weights.surplus > 0
        and affinity.adoption_lift >= 1.05

),

said as (

    select
        kept.customer_number,
        kept.category_number,
        evidence.owned_name,
        evidence.adoption_lift,
        row_number() over (
            partition by kept.customer_number, kept.category_number
            order by evidence.surplus desc, evidence.owned_number asc
        ) as reason_rank
    from kept
    inner join {{ ref('int_score_buying') }} as buying
        on
            kept.customer_number = buying.customer_number
            and buying.step = buying.adopted_step
    inner join evidence
        on
            buying.category_number = evidence.owned_number
            and kept.category_number = evidence.wanted_number

),

worded as (

    select
        customer_number,
        category_number,
        reason_rank,
        'buys ' || owned_name || ': those who do begin '
        || cast(cast(adoption_lift as decimal(18, 1)) as {{ dbt.type_string() }}) || ' times as often' as reason
    from said
    where reason_rank <= 3

),

reasons as (

    select
        customer_number,
        category_number,
        max(case when reason_rank = 1 then reason end) as reason_1,
        max(case when reason_rank = 2 then reason end) as reason_2,
        max(case when reason_rank = 3 then reason end) as reason_3
    from worded
    group by
        customer_number,
        category_number

),

-- How far the level of all likelihoods was off at the dates that the back-test judged, as a factor on the log scale;
-- two dates' worth of a fifth stand for shops that have few.
drift as (

    select
        source_name,
        sqrt(
            (sum(ln(predicted_over_observed) * ln(predicted_over_observed)) + 2 * 0.2 * 0.2) / (count(*) + 2)
        ) as typical_drift
    from {{ ref('score_backtest') }}
    where
        method = 'score'
        and predicted_over_observed > 0
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
            then round({{ likelihood('kept.score - 1.645 * drift.typical_drift') }}, 9)
    end as likelihood_low,
    case
        when drift.typical_drift is not null
            then round({{ likelihood('kept.score + 1.645 * drift.typical_drift') }}, 9)
    end as likelihood_high,
    round(categories.expected_spend, 6) as expected_spend,
    round(kept.likelihood * categories.expected_spend, 6) as expected_value,
    cast(kept.opportunity_rank as bigint) as rank,
    reasons.reason_1,
    reasons.reason_2,
    reasons.reason_3,
    kept.score_basis,
    case when kept.score_basis <> 'too little history' then dates.learned_from_date end as learned_from_date,
    case when kept.score_basis <> 'too little history' then dates.as_of_date end as learned_until_date
from kept
inner join categories
    on kept.category_number = categories.category_number
inner join {{ ref('int_score_customers') }} as customers
    on
        kept.customer_number = customers.customer_number
        and customers.step = 0
inner join dates
    on kept.source_name = dates.source_name
left join drift
    on kept.source_name = drift.source_name
left join reasons
    on
        kept.customer_number = reasons.customer_number
        and kept.category_number = reasons.category_number
