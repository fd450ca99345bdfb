-- The scores before their level, and the adoption rates, of the sample at each date: how many pairs have which log
-- odds. What followed is not used, so that a past date has the level that it had on its day.
with

trusted as (

    select
        raw_scores.source_name,
        raw_scores.step,
        raw_scores.weight_without_outcome as weight,
        raw_scores.base + raw_scores.centre + trusted.trust * raw_scores.distance as score
    from {{ ref('int_score_raw_scores') }} as raw_scores
    inner join {{ ref('int_score_trusted') }} as trusted
        on
            raw_scores.source_name = trusted.source_name
            and raw_scores.step = trusted.step
    where
        raw_scores.weight_without_outcome > 0
        and trusted.trust > 0
        and trusted.unknown_share <= {{ score_maximum_share_unknown() }}

),

scores as (

    select
        'score' as method,
        source_name,
        step,
        weight,
        round(score, 2) as score
    from trusted

    union all

    select
        'adoption rate' as method,
        source_name,
        step,
        weight_without_outcome as weight,
        round(base, 2) as score
    from {{ ref('int_score_sample') }}
    where
        weight_without_outcome > 0
        and step <= {{ score_last_scored_step() }}

)

select
    method,
    source_name,
    step,
    score,
    cast(sum(weight) as double) as weight
from scores
group by
    method,
    source_name,
    step,
    score
