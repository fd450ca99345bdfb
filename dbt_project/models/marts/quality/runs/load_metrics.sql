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

-- Medians: a single odd day changes neither what is usual nor how much is usual to differ from it.
usual as (

    select
        source_name,
        table_name,
        position_date,
        count(*) as earlier_deliveries,
        median(row_count) as usual_row_count
    from before
    group by
        source_name,
        table_name,
        position_date

),

spread as (

    select
        before.source_name,
        before.table_name,
        before.position_date,
        median(abs(before.row_count - usual.usual_row_count)) as usual_difference
    from before
    inner join usual
        on
            before.source_name = usual.source_name
            and before.table_name = usual.table_name
            and before.position_date = usual.position_date
    group by
        before.source_name,
        before.table_name,
        before.position_date

),

judged as (

    select
        deliveries.*,
        coalesce(usual.earlier_deliveries, 0) as earlier_deliveries,
        usual.usual_row_count,
        -- Less than half, and beyond three deviations (1.4826 medians of the differences each).
        case
            when usual.earlier_deliveries >= {{ fewest_deliveries }} then greatest(least(
                usual.usual_row_count / 2.0,
                usual.usual_row_count - 3 * 1.4826 * spread.usual_difference
            ), 0)
        end as fewest_row_count
    from deliveries
    left join usual
        on
            deliveries.source_name = usual.source_name
            and deliveries.table_name = usual.table_name
            and deliveries.position_date = usual.position_date
    left join spread
        on
            deliveries.source_name = spread.source_name
            and deliveries.table_name = spread.table_name
            and deliveries.position_date = spread.position_date

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
