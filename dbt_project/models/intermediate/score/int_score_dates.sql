with

shops as (

    select
        source_name,
        as_of_date,
        min(purchase_date) as first_purchase_date
    from {{ ref('int_score_lines') }}
    group by
        source_name,
        as_of_date

),

steps as (

    {{ steps_up_to(score_last_step()) }}

),

dated as (

    select
        shops.source_name,
        steps.step,
        cast({{ dbt.dateadd('day', 'steps.step * -' ~ var('score_horizon_days'), 'shops.as_of_date') }} as date)
            as as_of_date,
        shops.first_purchase_date
    from shops
    cross join steps

),

measured as (

    select
        *,
        {{ days_between('first_purchase_date', 'as_of_date') }} + 1 as history_days
    from dated

)

select
    source_name,
    cast(step as {{ dbt.type_int() }}) as step,
    as_of_date,
    cast(history_days as {{ dbt.type_int() }}) as history_days,
    history_days >= {{ var('score_min_history_days') }} as is_usable
from measured
-- The newest date is always scored; nothing can be learned from an earlier date without enough history.
where step = 0 or history_days >= {{ var('score_min_history_days') }}
