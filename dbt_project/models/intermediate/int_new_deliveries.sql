with

-- A table without new rows has a row too.
raw_tables as (

    {{ active_raw_tables() }}

),

deliveries as (

    select * from {{ ref('int_deliveries') }}
    where not is_superseded

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
            and deliveries.landed_file = published_deliveries.landed_file
            and deliveries.delivered_at = published_deliveries.delivered_at
    where published_deliveries.landed_file is null

),

counted as (

    select
        source_name,
        table_name,
        sum(row_count) as rows_read
    from new_deliveries
    group by
        source_name,
        table_name

),

rejected as (

    select
        rejected_rows.source_name,
        rejected_rows.table_name,
        sum(case when rejected_rows.rejection_kind = 'incomplete' then 1 else 0 end) as incomplete_rows,
        sum(case when rejected_rows.rejection_kind = 'repeated' then 1 else 0 end) as repeated_rows,
        sum(case when rejected_rows.rejection_kind = 'invalid' then 1 else 0 end) as invalid_rows
    from {{ ref('rejected_rows') }} as rejected_rows
    inner join new_deliveries
        on
            rejected_rows.source_name = new_deliveries.source_name
            and rejected_rows.table_name = new_deliveries.table_name
            and rejected_rows.landed_file = new_deliveries.landed_file
            and rejected_rows.load_id = new_deliveries.load_id
    group by
        rejected_rows.source_name,
        rejected_rows.table_name

)

select
    raw_tables.source_name,
    raw_tables.table_name,
    cast(coalesce(counted.rows_read, 0) as bigint) as rows_read,
    cast(coalesce(rejected.incomplete_rows, 0) as bigint) as incomplete_rows,
    cast(coalesce(rejected.repeated_rows, 0) as bigint) as repeated_rows,
    cast(coalesce(rejected.invalid_rows, 0) as bigint) as invalid_rows
from raw_tables
left join counted
    on
        raw_tables.source_name = counted.source_name
        and raw_tables.table_name = counted.table_name
left join rejected
    on
        raw_tables.source_name = rejected.source_name
        and raw_tables.table_name = rejected.table_name
