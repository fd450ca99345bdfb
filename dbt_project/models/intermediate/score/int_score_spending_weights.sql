-- How far a customer's spending in other categories tells what they spend on a new one: by what the adopters of the
-- windows before each date spent, a line through the logarithms, and the factor that makes the sums agree.
with

adopted as (

    select
        adopters.source_name,
        adopters.step,
        categories.expected_spend,
        cast(adoptions.amount as double) as amount,
        ln(spending.spending_ratio) as log_ratio,
        ln(greatest(cast(adoptions.amount as double), 0.01) / categories.expected_spend) as log_spend
    from {{ ref('int_score_adopters') }} as adopters
    inner join {{ ref('int_score_adoptions') }} as adoptions
        on
            adopters.customer_number = adoptions.customer_number
            and adopters.category_number = adoptions.category_number
    inner join {{ ref('int_score_categories') }} as categories
        on
            adopters.step = categories.step
            and adopters.category_number = categories.category_number
    inner join {{ ref('int_score_spending') }} as spending
        on
            adopters.step = spending.step
            and adopters.customer_number = spending.customer_number
    where categories.expected_spend > 0

),

known as (

    {%- for horizons in range(1, score_learning_windows() + 1) %}
        select
            dates.source_name,
            dates.step,
            adopted.expected_spend,
            adopted.amount,
            adopted.log_ratio,
            adopted.log_spend
        from {{ ref('int_score_dates') }} as dates
        inner join adopted
            on
                dates.source_name = adopted.source_name
                and dates.step + {{ horizons }} = adopted.step
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}

),

fitted as (

    select
        source_name,
        step,
        least(
            1,
            greatest(
                0,
                (sum(log_ratio * log_spend) - sum(log_ratio) * sum(log_spend) / count(*))
                / (
                    sum(log_ratio * log_ratio) - sum(log_ratio) * sum(log_ratio) / count(*)
                    + {{ spending_prior_adoptions() }}
                )
            )
        ) as exponent
    from known
    group by
        source_name,
        step

)

-- Sums of fractions differ in their last digits from build to build; these do not.
select
    fitted.source_name,
    fitted.step,
    round(min(fitted.exponent), 6) as exponent,
    round(
        (sum(known.amount) + {{ expected_spend_prior_customers() }} * avg(known.expected_spend))
        / (
            sum(known.expected_spend * exp(fitted.exponent * known.log_ratio))
            + {{ expected_spend_prior_customers() }} * avg(known.expected_spend)
        ),
        6
    ) as factor
from fitted
inner join known
    on
        fitted.source_name = known.source_name
        and fitted.step = known.step
group by
    fitted.source_name,
    fitted.step
