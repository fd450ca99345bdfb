{{ config(enabled='complete_journey' in var('sources')) }}
with

landed as (

    select * from {{ source('complete_journey', 'purchases') }}

),

renamed as (

    select
        cast('complete_journey' as {{ dbt.type_string() }}) as source_name,
        cast(household_id as {{ dbt.type_string() }}) as customer_id,
        cast(basket_id as {{ dbt.type_string() }}) as basket_id,
        cast(product_id as {{ dbt.type_string() }}) as product_id,
        cast(store_id as {{ dbt.type_string() }}) as store_id,
        cast(transaction_timestamp as timestamp) as purchased_at,
        {{ number_or_null('quantity', 'decimal(18, 3)') }} as quantity,
        {{ to_money('sales_value') }} as amount,
        -- A discount that is not a number counts as none, and does not affect the others.
        cast(
            coalesce({{ to_money('retail_disc') }}, 0)
            + coalesce({{ to_money('coupon_disc') }}, 0)
            + coalesce({{ to_money('coupon_match_disc') }}, 0)
            as decimal(18, 2)
        ) as discount_amount,
        cast(null as {{ dbt.type_string() }}) as set_aside_reason,
        cast(_delivery as {{ dbt.type_string() }}) as delivery,
        cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
    from landed

)

select * from renamed
