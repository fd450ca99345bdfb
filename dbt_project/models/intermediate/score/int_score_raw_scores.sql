-- What the weights learned by each date say about the pairs of the sample at that date, beyond their categories'
-- adoption rates. At earlier dates, what followed tests them: the weights have not seen it.
{%- set features = score_feature_columns() %}
with

weights as (

    {{ last_round(ref('int_score_feature_weights'), ['intercept'] + features.keys() | list) }}

),

scored as (

    select
        sample.source_name,
        sample.step,
        sample.category_number,
        sample.adopted,
        sample.weight,
        sample.weight_without_outcome,
        sample.base,
        {{ weighted_sum('weights', 'intercept', 'sample', features) }} as learned,
        {%- for group, names in score_feature_groups().items() %}
            {{ weighted_group(names, 'weights', features, 'sample.') }} as {{ group }}
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ ref('int_score_sample') }} as sample
    inner join weights
        on
            sample.source_name = weights.source_name
            and sample.step = weights.step

),

centres as (

    select
        source_name,
        step,
        sum(weight_without_outcome * learned) / sum(weight_without_outcome) as centre
    from scored
    group by
        source_name,
        step

)

select
    scored.*,
    round(centres.centre, 6) as centre,
    scored.learned - round(centres.centre, 6) as distance
from scored
inner join centres
    on
        scored.source_name = centres.source_name
        and scored.step = centres.step
