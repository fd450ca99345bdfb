{{ config(
    materialized=row_level(),
    incremental_strategy='changed_baskets',
    unique_key=['source_name', 'basket_id'],
    on_schema_change='fail',
    pre_hook="{{ find_changed_baskets() }}",
) }}
-- Which lines count as purchases: decided here and nowhere else. The first reason that applies is the one recorded.
with

delivered as (

    {% if is_incremental() -%}
        select * from ({{ lines_of_deliveries('read_deliveries') }}) as read_lines
        where {{ is_in_changed_baskets() }}
    {%- else -%}
        {{ delivered_rows('purchases') }}
    {%- endif %}

),

dated as (

    select
        *,
        coalesce(
            cast(purchased_at as date)
            > cast({{ dbt.dateadd('day', var('future_tolerance_days'), 'delivered_at') }} as date),
            false
        ) as is_future
    from delivered

),

numbered as (

    -- Two lines of a basket and product are the same line when they are equal in everything. Lines that differ (the
    -- product was scanned twice, or taken back) are separate lines: rank() gives only equal lines the same number.
    -- A line that was sent too early does not make the same line, sent again on its day, a duplicate.
    -- Of equal lines the one that was delivered first counts, so that each build rejects the same ones.
    select
        *,
        row_number() over (
            partition by source_name, basket_id, product_id, set_aside_reason, is_superseded, is_future
            order by purchased_at, customer_id, store_id, quantity, amount, discount_amount, load_id, delivery
        ) as position_in_basket,
        rank() over (
            partition by source_name, basket_id, product_id, set_aside_reason, is_superseded, is_future
            order by purchased_at, customer_id, store_id, quantity, amount, discount_amount
        ) as line_number
    from dated

),

judged as (

    select
        *,
        case
            when set_aside_reason is not null then set_aside_reason
            when is_superseded then 'superseded_delivery'
            when customer_id is null then 'missing_customer'
            when product_id is null then 'missing_product'
            when basket_id is null then 'missing_basket'
            when purchased_at is null then 'missing_date'
            when quantity is null or amount is null then 'missing_quantity_or_amount'
            when position_in_basket > line_number then 'duplicate'
            when is_future then 'future_date'
            when purchased_at < cast('{{ var('oldest_purchase_date') }}' as timestamp) then 'ancient_date'
            when quantity < 0 or amount < 0 then 'return'
            when quantity = 0 then 'zero_quantity'
            when amount = 0 then 'zero_amount'
        end as own_reason
    from numbered

),

cancellations as (

    {{ cancellations(sources_that_cancel()) }}

),

with_reasons as (

    select
        judged.*,
        coalesce(cancellations.cancellation_reason, judged.own_reason) as rejection_reason
    from judged
    left join cancellations
        on
            judged.source_name = cancellations.source_name
            and judged.basket_id = cancellations.basket_id
            and judged.product_id = cancellations.product_id
            and judged.position_in_basket = cancellations.position_in_basket
            -- Lines with other reasons may have the same position.
            and coalesce(judged.own_reason, 'none') = cancellations.own_reason

)

select * from with_reasons
{%- if is_incremental() and sources_that_cancel() %}
where not {{ keeps_its_reason('with_reasons') }}

union all

-- Of these customers no line changed, and not all baskets were read.
select * from {{ this }} as built
where
    {{ is_in_changed_baskets('built') }}
    and {{ keeps_its_reason('built') }}
{%- endif %}
