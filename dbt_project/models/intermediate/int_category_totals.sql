-- Which totals count as spending: decided here and nowhere else. The first reason that applies is the one recorded.
with

staged as (

    select * from {{ ref('int_staged_category_totals') }}

),

deliveries as (

    select
        source_name,
        delivery,
        load_id,
        cast(delivered_at as date) as delivered_on,
        max(case when is_held then 1 else 0 end) as is_held
    from {{ ref('int_deliveries') }}
    group by
        source_name,
        delivery,
        load_id,
        cast(delivered_at as date)

),

delivered as (

    select
        {{ columns_except('staged', 'set_aside_reason') }},
        case when deliveries.is_held = 1 then 'held_delivery' else staged.set_aside_reason end as set_aside_reason,
        deliveries.delivered_on
    from staged
    left join deliveries
        on
            staged.source_name = deliveries.source_name
            and staged.delivery = deliveries.delivery
            and staged.load_id = deliveries.load_id

),

-- Rows that the source itself no longer counts do not compete with the others. Totals only grow, so that of two in one
-- delivery the larger is the newer.
ranked as (

    select
        *,
        max(load_id) over (partition by source_name, customer_id, category, set_aside_reason) as newest_load_id,
        row_number() over (
            partition by source_name, customer_id, category, set_aside_reason
            order by
                load_id desc,
                coalesce(amount, 0) desc,
                delivery asc
        ) as version_number
    from delivered

),

with_reasons as (

    select
        *,
        {{ source_key('category') }} as category_key,
        case
            when set_aside_reason is not null then set_aside_reason
            when {{ has_lines_and_totals() }} then 'purchases_are_sent'
            when customer_id is null then 'missing_customer'
            when category is null then 'missing_category'
            when load_id < newest_load_id then 'superseded_version'
            when version_number > 1 then 'repeated_total'
            when amount is null then 'missing_amount'
            when amount < 0 then 'negative_amount'
            when amount = 0 then 'nothing_bought'
        end as rejection_reason
    from ranked

)

select * from with_reasons
