{%- set features = score_features() -%}
with

pairs as (

    select * from {{ ref('int_score_pairs') }}
    where step <= {{ var('score_backtest_dates') }}

),

dates as (

    select * from {{ ref('int_score_dates') }}

),

raw_scores as (

    select
        p.source_name,
        p.step,
        p.customer_number,
        p.category_number,
        p.adopted,
        k.adoption_rate,
        k.popularity,
        case
            when w.step is null or not dates.is_usable then 'too little history'
            when w.is_learned and k.first_sold_step = p.step then 'category too new'
            else w.score_basis
        end as score_basis,
        w.is_learned,
        w.trust,
        w.centre,
        w.score_shift,
        coalesce(w.rate_shift, 0) as rate_shift,
        w.log_error,
        {{ log_odds('k.adoption_rate') }} as base,
        -- Without adopters to learn from, what the category's new customers spend on average.
        k.expected_spend * coalesce(sw.factor * power(sp.spending_ratio, sw.exponent), 1) as expected_spend,
        w.intercept
        {%- for feature, expression in features.items() %}
            + w.{{ feature }} * {{ expression }}
        {%- endfor %} as learned,
        {%- for group, names in score_feature_groups().items() %}
            {{ weighted_group(names, 'w', features) }} as {{ group }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    -- Each pair has a customer, a category and a date, so inner joins would give the same rows; but a planner could
    -- then join all customers with all categories first.
    from pairs as p
    left join {{ ref('int_score_customers') }} as c
        on
            p.step = c.step
            and p.customer_number = c.customer_number
    left join {{ ref('int_score_categories') }} as k
        on
            p.step = k.step
            and p.category_number = k.category_number
    left join {{ ref('int_score_spending') }} as sp
        on
            p.step = sp.step
            and p.customer_number = sp.customer_number
    left join {{ ref('int_score_spending_weights') }} as sw
        on
            p.source_name = sw.source_name
            and p.step = sw.step
    left join dates
        on
            p.source_name = dates.source_name
            and p.step = dates.step
    left join {{ ref('int_score_weights') }} as w
        on
            p.source_name = w.source_name
            and p.step = w.step

),

levelled as (

    select
        *,
        case
            when is_learned then base + centre + trust * (learned - centre) + score_shift
            else base + rate_shift
        end as score
    from raw_scores

)

select
    source_name,
    step,
    customer_number,
    category_number,
    adopted,
    adoption_rate,
    popularity,
    score_basis,
    score,
    {{ likelihood('score') }} as likelihood,
    {{ likelihood('base + rate_shift') }} as baseline_likelihood,
    expected_spend,
    {%- for group in score_feature_groups() %}
        case when is_learned and step = 0 then {{ group }} end as {{ group }},
    {%- endfor %}
    case
        when log_error is not null then {{ likelihood('score - ' ~ z_of_90_percent() ~ ' * log_error') }}
    end as likelihood_low,
    case
        when log_error is not null then {{ likelihood('score + ' ~ z_of_90_percent() ~ ' * log_error') }}
    end as likelihood_high
from levelled
