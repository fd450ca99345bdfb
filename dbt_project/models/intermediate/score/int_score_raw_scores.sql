{%- set features = score_feature_columns() -%}
with

learning as (

    select * from {{ ref('int_score_learning') }}

),

weights as (

    {{ last_round(ref('int_score_feature_weights'), ['intercept'] + features.keys() | list) }}

),

scored as (

    select
        learning.source_name,
        learning.step,
        learning.adopted,
        learning.weight,
        learning.base as rate_log_odds,
        learning.base + {{ weighted_sum('weights', 'intercept', 'learning', features) }} as base
    from learning
    inner join weights
        on
            learning.source_name = weights.source_name
            and learning.step = weights.step

),

centres as (

    select
        source_name,
        step,
        sum(weight * base) / sum(weight) as centre
    from scored
    group by
        source_name,
        step

)

select
    scored.*,
    centres.centre,
    scored.base - centres.centre as distance,
    (scored.base - centres.centre) * (scored.base - centres.centre) as squared_distance
from scored
inner join centres
    on
        scored.source_name = centres.source_name
        and scored.step = centres.step
