with

quarantined as (

    select * from {{ ref('int_staged_quarantine') }}

),

deliveries as (

    select * from {{ ref('int_deliveries') }}

),

newest_deliveries as (

    select * from deliveries
    where
        not is_superseded
        and not is_held

),

-- The rows of a delivery's newest version: a file that came again replaces its rows in quarantine too.
in_quarantine as (

    select
        quarantined.source_name,
        quarantined.table_name,
        quarantined.delivery,
        quarantined.load_id,
        count(*) as row_count
    from quarantined
    inner join newest_deliveries
        on
            newest_deliveries.table_name = 'quarantine'
            and quarantined.source_name = newest_deliveries.source_name
            and quarantined.delivery = newest_deliveries.delivery
            and quarantined.load_id = newest_deliveries.load_id
    group by
        quarantined.source_name,
        quarantined.table_name,
        quarantined.delivery,
        quarantined.load_id

),

-- Corrected rows are deliveries of their own, named replayed/<delivery>/<file>.
replayed as (

    select
        in_quarantine.source_name,
        in_quarantine.table_name,
        in_quarantine.delivery,
        sum(newest_deliveries.row_count) as row_count
    from in_quarantine
    inner join newest_deliveries
        on
            in_quarantine.source_name = newest_deliveries.source_name
            and in_quarantine.table_name = newest_deliveries.table_name
            and {{ dbt.position("'replayed/' || in_quarantine.delivery || '/'", "newest_deliveries.delivery") }} = 1
    group by
        in_quarantine.source_name,
        in_quarantine.table_name,
        in_quarantine.delivery

)

select
    quarantined.source_name,
    quarantined.table_name,
    quarantined.delivery,
    quarantined.load_id,
    quarantined.line,
    case
        when deliveries.is_held then 'held_delivery'
        when in_quarantine.delivery is null then 'superseded_delivery'
        when replayed.row_count >= in_quarantine.row_count then 'replayed'
        else 'quarantined'
    end as rejection_reason
from quarantined
left join deliveries
    on
        deliveries.table_name = 'quarantine'
        and quarantined.source_name = deliveries.source_name
        and quarantined.delivery = deliveries.delivery
        and quarantined.load_id = deliveries.load_id
left join in_quarantine
    on
        quarantined.source_name = in_quarantine.source_name
        and quarantined.table_name = in_quarantine.table_name
        and quarantined.delivery = in_quarantine.delivery
        and quarantined.load_id = in_quarantine.load_id
left join replayed
    on
        quarantined.source_name = replayed.source_name
        and quarantined.table_name = replayed.table_name
        and quarantined.delivery = replayed.delivery
