{{ config(materialized='view') }}
-- The log odds of each method, moved close to the expected number of adoptions, and the share of pairs that this
-- number is.
with

bins as (

    select * from {{ ref('int_score_bins') }}

),

totals as (

    select
        method,
        source_name,
        step,
        sum(weight) as pair_count,
        sum(weight * {{ likelihood('score') }}) as predicted_count
    from bins
    group by
        method,
        source_name,
        step

)

select
    bins.method,
    bins.source_name,
    bins.step,
    bins.weight,
    ln(level.expected_count / totals.predicted_count) as start,
    bins.score as base,
    level.expected_count / totals.pair_count as adopted
from bins
inner join totals
    on
        bins.method = totals.method
        and bins.source_name = totals.source_name
        and bins.step = totals.step
inner join {{ ref('int_score_level') }} as level
    on
        bins.source_name = level.source_name
        and bins.step = level.step
where level.expected_count is not null
