{%- set features = score_features() -%}
with

weighed as (

    select
        p.source_name,
        p.step,
        p.customer_number,
        p.category_number,
        p.adopted,
        k.adoption_rate,
        k.popularity,
        w.centre,
        w.shift,
        w.slope,
        w.bend,
        w.step is not null as is_learned,
        {{ log_odds('k.adoption_rate') }} + w.intercept
        {%- for feature, expression in features.items() %}
        + w.{{ feature }} * {{ expression }}
        {%- endfor %} as raw_score
    from {{ ref('int_score_pairs') }} as p
    inner join {{ ref('int_score_customers') }} as c
        on
            p.step = c.step
            and p.customer_number = c.customer_number
    inner join {{ ref('int_score_categories') }} as k
        on
            p.step = k.step
            and p.category_number = k.category_number
    left join {{ ref('int_score_weights') }} as w
        on
            p.source_name = w.source_name
            and p.step = w.step
    where p.step <= {{ var('score_backtest_dates') }}

)

select
    source_name,
    step,
    customer_number,
    category_number,
    adopted,
    adoption_rate,
    popularity,
    is_learned,
    raw_score,
    case
        when is_learned
            then {{ likelihood(
                'raw_score + shift + (slope - 1) * (raw_score - centre) + bend * (raw_score - centre) * (raw_score - centre)'
            ) }}
        else adoption_rate
    end as likelihood
from weighed
