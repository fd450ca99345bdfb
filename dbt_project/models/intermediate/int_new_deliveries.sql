with

-- A table without new rows has a row too.
raw_tables as (

    {{ active_raw_tables() }}

),

deliveries as (

    select * from {{ ref('int_deliveries') }}
    where not is_superseded and not is_held

),

published_deliveries as (

    select * from {{ source('published', 'deliveries') }}

),

-- A corrected file is a new delivery: readers have an earlier one.
new_deliveries as (

    select deliveries.*
    from deliveries
    left join published_deliveries
        on
            deliveries.source_name = published_deliveries.source_name
            and deliveries.table_name = published_deliveries.table_name
            and deliveries.delivery = published_deliveries.delivery
            and deliveries.delivered_at = published_deliveries.delivered_at
    where published_deliveries.delivery is null

),

rejected as (

    select
        rejected_rows.source_name,
        rejected_rows.table_name,
        rejected_rows.rejection_reason,
        rejected_rows.rejection_kind,
        count(*) as row_count
    from {{ ref('rejected_rows') }} as rejected_rows
    inner join new_deliveries
        on
            rejected_rows.source_name = new_deliveries.source_name
            and rejected_rows.table_name = new_deliveries.table_name
            and rejected_rows.delivery = new_deliveries.delivery
            and rejected_rows.load_id = new_deliveries.load_id
    where rejected_rows.rejection_kind <> 'set aside'
    group by
        rejected_rows.source_name,
        rejected_rows.table_name,
        rejected_rows.rejection_reason,
        rejected_rows.rejection_kind

),

-- The ledger counts the rows that were loaded; those in quarantine were delivered as well.
delivered as (

    select
        source_name,
        table_name,
        row_count
    from new_deliveries

    union all

    select
        source_name,
        table_name,
        row_count
    from rejected
    where rejection_reason = 'quarantined'

),

counted as (

    select
        source_name,
        table_name,
        sum(row_count) as rows_read
    from delivered
    group by
        source_name,
        table_name

),

-- Of each reason, the rows beyond the share that is usual in the shop count.
weighed as (

    select
        rejected.*,
        greatest(
            rejected.row_count - floor(coalesce(usual_rejections.share, 0) * counted.rows_read), 0
        ) as unusual_rows
    from rejected
    inner join counted
        on
            rejected.source_name = counted.source_name
            and rejected.table_name = counted.table_name
    left join {{ ref('usual_rejections') }} as usual_rejections
        on
            rejected.source_name = usual_rejections.source_name
            and rejected.table_name = usual_rejections.table_name
            and rejected.rejection_reason = usual_rejections.rejection_reason

),

summed as (

    select
        source_name,
        table_name,
        sum(case when rejection_kind = 'incomplete' then unusual_rows else 0 end) as incomplete_rows,
        sum(case when rejection_kind = 'repeated' then unusual_rows else 0 end) as repeated_rows,
        sum(case when rejection_kind = 'invalid' then unusual_rows else 0 end) as invalid_rows,
        sum(case when rejection_kind = 'incomplete' then row_count - unusual_rows else 0 end) as usual_incomplete_rows,
        sum(case when rejection_kind = 'repeated' then row_count - unusual_rows else 0 end) as usual_repeated_rows,
        sum(case when rejection_kind = 'invalid' then row_count - unusual_rows else 0 end) as usual_invalid_rows
    from weighed
    group by
        source_name,
        table_name

)

select
    raw_tables.source_name,
    raw_tables.table_name,
    cast(coalesce(counted.rows_read, 0) as bigint) as rows_read,
    cast(coalesce(summed.incomplete_rows, 0) as bigint) as incomplete_rows,
    cast(coalesce(summed.repeated_rows, 0) as bigint) as repeated_rows,
    cast(coalesce(summed.invalid_rows, 0) as bigint) as invalid_rows,
    cast(coalesce(summed.usual_incomplete_rows, 0) as bigint) as usual_incomplete_rows,
    cast(coalesce(summed.usual_repeated_rows, 0) as bigint) as usual_repeated_rows,
    cast(coalesce(summed.usual_invalid_rows, 0) as bigint) as usual_invalid_rows
from raw_tables
left join counted
    on
        raw_tables.source_name = counted.source_name
        and raw_tables.table_name = counted.table_name
left join summed
    on
        raw_tables.source_name = summed.source_name
        and raw_tables.table_name = summed.table_name
