-- A shop without any row has a row too.
with

shops as (

    {{ active_sources() }}

),

holds as (

    select
        source_name,
        min(held_since) as held_since,
        {{ dbt.listagg('reason', "'; '", "order by cause") }} as reason
    from {{ source('published', 'held_sources') }}
    where reason is not null
    group by source_name

),

deliveries as (

    select
        source_name,
        max(case when not is_held then delivered_at end) as newest_delivery,
        sum(case when is_held or is_superseded then 0 else 1 end) as delivery_count,
        sum(case when is_held then 1 else 0 end) as waiting_delivery_count
    from {{ ref('int_deliveries') }}
    group by source_name

),

purchases as (

    select
        source_name,
        max(purchased_at) as newest_purchase
    from {{ ref('fct_purchases') }}
    group by source_name

)

select
    shops.source_name,
    case when holds.source_name is null then 'current' else 'held' end as status,
    holds.held_since,
    holds.reason,
    purchases.newest_purchase,
    deliveries.newest_delivery,
    cast(coalesce(deliveries.delivery_count, 0) as bigint) as delivery_count,
    cast(coalesce(deliveries.waiting_delivery_count, 0) as bigint) as waiting_delivery_count
from shops
left join holds
    on shops.source_name = holds.source_name
left join deliveries
    on shops.source_name = deliveries.source_name
left join purchases
    on shops.source_name = purchases.source_name
