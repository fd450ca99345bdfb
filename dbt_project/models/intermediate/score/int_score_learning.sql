{{ config(materialized='view') }}
with

dates as (

    select * from {{ ref('int_score_dates') }}
    where step <= {{ var('score_backtest_dates') }}

),

-- The windows that had ended by each date: the horizon before it and those before that.
windows as (

    {%- for horizons in range(1, score_learning_windows() + 1) %}
        select
            source_name,
            step,
            step + {{ horizons }} as window_step,
            power({{ score_window_factor() }}, {{ horizons - 1 }}) as weight
        from dates
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}

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
