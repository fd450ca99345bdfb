{{ config(materialized='view') }}
with

dates as (

    select * from {{ ref('int_score_dates') }}
    where step <= {{ score_last_scored_step() }}

),

-- The windows that had ended by each date: the horizon before it and those before that.
windows as (

    {{ windows_before('dates', score_window_factor()) }}

),

-- Categories that had just been launched: their rates come from a few days.
launched as (

    select
        source_name,
        step,
        sum(case when first_sold_step = step then candidate_count * adoption_rate else 0 end)
        / nullif(sum(candidate_count * adoption_rate), 0) as expected_share
    from {{ ref('int_score_categories') }}
    group by
        source_name,
        step

)

select
    sample.source_name,
    windows.step,
    sample.step as window_step,
    sample.adopted,
    sample.weight * windows.weight as weight,
    {%- for feature in score_features() %}
        sample.{{ feature }},
    {%- endfor %}
    sample.base
from {{ ref('int_score_sample') }} as sample
inner join windows
    on
        sample.source_name = windows.source_name
        and sample.step = windows.window_step
inner join launched
    on
        sample.source_name = launched.source_name
        and sample.step = launched.step
where launched.expected_share <= {{ score_maximum_share_unknown() }}
