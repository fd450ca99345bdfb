with

landed as (

    select * from {{ source('complete_journey', 'purchases') }}

),

deliveries as (

    select * from {{ source('complete_journey', 'deliveries') }}
    where table_name = 'purchases'

),

newest_deliveries as (

    select
        landed_file,
        max(_dlt_load_id) as load_id
    from deliveries
    group by landed_file

),

renamed as (

    select
        cast('complete_journey' as {{ dbt.type_string() }}) as source_name,
        cast(landed.household_id as {{ dbt.type_string() }}) as customer_id,
        cast(landed.basket_id as {{ dbt.type_string() }}) as basket_id,
        cast(landed.product_id as {{ dbt.type_string() }}) as product_id,
        cast(landed.store_id as {{ dbt.type_string() }}) as store_id,
        cast(landed.transaction_timestamp as timestamp) as purchased_at,
        {{ number_or_null('landed.quantity', 'decimal(18, 3)') }} as quantity,
        {{ to_money('landed.sales_value') }} as amount,
        -- A discount without a number is none, and takes nothing from the others.
        cast(
            coalesce({{ to_money('landed.retail_disc') }}, 0)
            + coalesce({{ to_money('landed.coupon_disc') }}, 0)
            + coalesce({{ to_money('landed.coupon_match_disc') }}, 0)
            as decimal(18, 2)
        ) as discount_amount,
        cast(deliveries.delivered_at as timestamp) as delivered_at,
        -- The shop sent this day again later: only the newest delivery of a day counts.
        coalesce(landed._dlt_load_id < newest_deliveries.load_id, false) as is_superseded,
        cast(landed._landed_file as {{ dbt.type_string() }}) as landed_file,
        cast(landed._dlt_load_id as {{ dbt.type_string() }}) as load_id
    from landed
    left join deliveries
        on
            landed._landed_file = deliveries.landed_file
            and landed._dlt_load_id = deliveries._dlt_load_id
    left join newest_deliveries
        on landed._landed_file = newest_deliveries.landed_file

)

select * from renamed
