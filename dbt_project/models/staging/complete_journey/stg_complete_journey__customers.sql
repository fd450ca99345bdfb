{{ config(enabled='complete_journey' in var('sources')) }}
with

landed as (

    select * from {{ source('complete_journey', 'customers') }}

),

renamed as (

    select
        cast('complete_journey' as {{ dbt.type_string() }}) as source_name,
        cast(household_id as {{ dbt.type_string() }}) as customer_id,
        cast(null as {{ dbt.type_int() }}) as birth_year,
        cast(age as {{ dbt.type_string() }}) as age_band,
        cast(null as {{ dbt.type_string() }}) as education,
        cast(marital_status as {{ dbt.type_string() }}) as marital_status,
        cast(null as decimal(18, 2)) as income,
        cast(income as {{ dbt.type_string() }}) as income_band,
        cast(household_size as {{ dbt.type_string() }}) as household_size,
        cast(household_comp as {{ dbt.type_string() }}) as household_composition,
        cast(kids_count as {{ dbt.type_string() }}) as children,
        cast(home_ownership as {{ dbt.type_string() }}) as home_ownership,
        cast(null as {{ dbt.type_string() }}) as country,
        cast(null as {{ dbt.type_string() }}) as set_aside_reason,
        cast(_delivery as {{ dbt.type_string() }}) as delivery,
        cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
    from landed

)

select * from renamed
