{{ config(enabled='complete_journey' in var('sources')) }}
with

landed as (

    select * from {{ source('complete_journey', 'products') }}

),

renamed as (

    select
        cast('complete_journey' as {{ dbt.type_string() }}) as source_name,
        cast(product_id as {{ dbt.type_string() }}) as product_id,
        cast(null as {{ dbt.type_string() }}) as product_name,
        cast(department as {{ dbt.type_string() }}) as department,
        cast(product_category as {{ dbt.type_string() }}) as category,
        cast(product_type as {{ dbt.type_string() }}) as product_type,
        cast(brand as {{ dbt.type_string() }}) as brand,
        cast(manufacturer_id as {{ dbt.type_string() }}) as manufacturer_id,
        cast(package_size as {{ dbt.type_string() }}) as package_size,
        cast(null as {{ dbt.type_string() }}) as set_aside_reason,
        cast(_delivery as {{ dbt.type_string() }}) as delivery,
        cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
    from landed

)

select * from renamed
