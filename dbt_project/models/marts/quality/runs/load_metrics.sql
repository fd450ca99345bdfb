{#- A delivery is compared with those of this many days before it, if there are at least minimum_deliveries. -#}
{% set days_before = 56 -%}
{% set minimum_deliveries = 4 -%}
{#- A file that arrives more than this many days after its day is part of a history that is loaded at once. -#}
{% set days_after = 7 -%}
with

deliveries as (

    select
        deliveries.run_id,
        runs.run_number,
        deliveries.source_name,
        deliveries.table_name,
        coalesce(deliveries.delivery, deliveries.landed_file) as delivery,
        deliveries.delivery_date,
        deliveries.row_count,
        deliveries.delivered_at,
        -- A file that is not for one day is compared with its own earlier versions, on any day.
        coalesce(deliveries.delivery_date, cast(deliveries.delivered_at as date)) as position_date,
        deliveries.delivery_date is not null as is_daily,
        -- Corrected rows of a file are a few of its rows: they are not compared with whole files.
        coalesce(deliveries.delivery, deliveries.landed_file) like 'replayed/%' as is_replayed,
        row_number() over (
            partition by
                deliveries.source_name,
                deliveries.table_name,
                coalesce(deliveries.delivery_date, cast(deliveries.delivered_at as date))
            order by
                case when coalesce(deliveries.delivery, deliveries.landed_file) like 'replayed/%' then 1 else 0 end,
                runs.run_number desc,
                deliveries.delivered_at desc,
                coalesce(deliveries.delivery, deliveries.landed_file) asc
        ) = 1 as is_newest_of_its_day
    from {{ source('history', 'deliveries') }} as deliveries
    inner join {{ source('history', 'runs') }} as runs
        on deliveries.run_id = runs.run_id

),

{{ held_or_not() }},

earlier_values as (

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
            and not deliveries.is_replayed
            and not earlier.is_replayed
            and deliveries.position_date > earlier.position_date
            and {{ days_between('earlier.position_date', 'deliveries.position_date') }} <= {{ days_before }}
            and (
                not deliveries.is_daily
                or mod({{ days_between('earlier.position_date', 'deliveries.position_date') }}, 7) = 0
            )

),

{{ baseline_of_earlier_values(['source_name', 'table_name', 'position_date'], 'row_count') }},

compared as (

    select
        deliveries.*,
        coalesce(baseline.earlier_count, 0) as earlier_deliveries,
        baseline.expected_value as expected_row_count,
        -- Less than half of it, and more than three standard deviations below it; one is estimated as 1.4826 median
        -- absolute deviations.
        case
            when baseline.earlier_count >= {{ minimum_deliveries }} then greatest(least(
                baseline.expected_value / 2.0,
                baseline.expected_value - 3 * 1.4826 * baseline.median_absolute_deviation
            ), 0)
        end as minimum_row_count
    from deliveries_held_or_not as deliveries
    left join baseline
        on
            deliveries.source_name = baseline.source_name
            and deliveries.table_name = baseline.table_name
            and deliveries.position_date = baseline.position_date
            and not deliveries.is_replayed

)

select
    run_id,
    run_number,
    source_name,
    table_name,
    delivery,
    delivery_date,
    delivered_at,
    row_count,
    {{ days_between('position_date', 'cast(delivered_at as date)') }} <= {{ days_after }} as is_in_time,
    cast(earlier_deliveries as bigint) as earlier_deliveries,
    cast(expected_row_count as double) as expected_row_count,
    cast(minimum_row_count as double) as minimum_row_count,
    coalesce(row_count < minimum_row_count, false) as is_far_smaller,
    is_held,
    -- Deprecated, until 0.6.0.
    delivery as landed_file
from compared
