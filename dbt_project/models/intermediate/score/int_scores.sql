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
            when k.first_sold_step = p.step then 'category too new'
            when not w.has_signal then 'no signal'
            else 'learned'
        end as score_basis,
        w.has_signal,
        w.centre,
        w.shift,
        w.stretch,
        w.bend,
        {{ log_odds('k.adoption_rate') }} as base,
        w.level,
        {{ log_odds('k.adoption_rate') }} + w.intercept
        {%- for feature, expression in features.items() %}
            + w.{{ feature }} * {{ expression }}
        {%- endfor %} as raw_score
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
    left join dates
        on
            p.source_name = dates.source_name
            and p.step = dates.step
    left join {{ ref('int_score_weights') }} as w
        on
            p.source_name = w.source_name
            and p.step = w.step

),

calibrated as (

    select
        *,
        case
            when score_basis = 'too little history' then base
            when has_signal
                then
                    raw_score + shift + stretch * (raw_score - centre)
                    + bend * (raw_score - centre) * (raw_score - centre)
            else base + level
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
    {{ likelihood('score') }} as likelihood
from calibrated
