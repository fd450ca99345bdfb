{{ config(enabled='online_retail' in var('sources')) }}
with

landed as (

    select * from {{ source('online_retail', 'purchases') }}

),

renamed as (

    select
        cast('online_retail' as {{ dbt.type_string() }}) as source_name,
        cast({{ online_retail_customer_id() }} as {{ dbt.type_string() }}) as customer_id,
        cast(invoice_no as {{ dbt.type_string() }}) as basket_id,
        -- The shop writes the letters of one code large and small.
        cast({{ clean_key('stock_code', case='upper') }} as {{ dbt.type_string() }}) as product_id,
        cast(null as {{ dbt.type_string() }}) as store_id,
        cast(invoice_date as timestamp) as purchased_at,
        {{ number_or_null('quantity', 'decimal(18, 3)') }} as quantity,
        {{ to_money('quantity * unit_price') }} as amount,
        cast(0 as decimal(18, 2)) as discount_amount,
        -- Invoices whose number begins with A book bad debts.
        cast(case when invoice_no like 'A%' then 'adjustment' end as {{ dbt.type_string() }}) as set_aside_reason,
        cast(_delivery as {{ dbt.type_string() }}) as delivery,
        cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
    from landed

)

select * from renamed
