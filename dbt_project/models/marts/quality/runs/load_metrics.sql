{#- A delivery is judged by so many days before it, and not by fewer deliveries than the second number. -#}
{% set days_before = 56 -%}
{% set fewest_deliveries = 4 -%}
{#- What arrives later than so many days after its day is old history that is loaded at once. -#}
{% set days_after = 7 -%}
with

deliveries as (

    select
        deliveries.run_id,
        runs.run_number,
        deliveries.source_name,
        deliveries.table_name,
        deliveries.landed_file,
        deliveries.delivery_date,
        deliveries.row_count,
        deliveries.delivered_at,
        -- A file that is not of one day is compared with its own earlier versions, on whichever day.
        coalesce(deliveries.delivery_date, cast(deliveries.delivered_at as date)) as position_date,
        deliveries.delivery_date is not null as is_daily,
        row_number() over (
            partition by
                deliveries.source_name,
                deliveries.table_name,
                coalesce(deliveries.delivery_date, cast(deliveries.delivered_at as date))
            order by runs.run_number desc, deliveries.delivered_at desc, deliveries.landed_file asc
        ) = 1 as is_newest_of_its_day
    from {{ source('history', 'deliveries') }} as deliveries
    inner join {{ source('history', 'runs') }} as runs
        on deliveries.run_id = runs.run_id

),

before as (

    select
        deliveries.source_name,
        deliveries.table_name,
        deliveries.position_date,
        earlier.row_count
    from deliveries
    inner join deliveries as earlier
        on
            deliveries.source_name = earlier.source_name
            and deliveries.table_name = earlier.table_name
            and deliveries.is_newest_of_its_day
            and earlier.is_newest_of_its_day
            and deliveries.position_date > earlier.position_date
            and {{ days_between('earlier.position_date', 'deliveries.position_date') }} <= {{ days_before }}
            and (
                not deliveries.is_daily
                or mod({{ days_between('earlier.position_date', 'deliveries.position_date') }}, 7) = 0
            )

),

{{ usual_of_before(['source_name', 'table_name', 'position_date'], 'row_count') }},

judged as (

    select
        deliveries.*,
        coalesce(usual.earlier_count, 0) as earlier_deliveries,
        usual.usual_value as usual_row_count,
        -- Less than half, and beyond three deviations (1.4826 medians of the differences each).
        case
            when usual.earlier_count >= {{ fewest_deliveries }} then greatest(least(
                usual.usual_value / 2.0,
                usual.usual_value - 3 * 1.4826 * usual.usual_difference
            ), 0)
        end as fewest_row_count
    from deliveries
    left join usual
        on
            deliveries.source_name = usual.source_name
            and deliveries.table_name = usual.table_name
            and deliveries.position_date = usual.position_date

)

select
    run_id,
    run_number,
    source_name,
    table_name,
    landed_file,
    delivery_date,
    delivered_at,
    row_count,
    {{ days_between('position_date', 'cast(delivered_at as date)') }} <= {{ days_after }} as is_in_time,
    cast(earlier_deliveries as bigint) as earlier_deliveries,
    cast(usual_row_count as double) as usual_row_count,
    cast(fewest_row_count as double) as fewest_row_count,
    coalesce(row_count < fewest_row_count, false) as is_far_smaller
from judged
