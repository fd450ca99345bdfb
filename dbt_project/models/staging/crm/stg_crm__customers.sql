{{ config(enabled='crm' in var('sources')) }}
with

customers as (

    select * from {{ ref('base_crm__customers') }}

),

renamed as (

    select
        cast('crm' as {{ dbt.type_string() }}) as source_name,
        cast(id as {{ dbt.type_string() }}) as customer_id,
        cast(case when not coalesce(has_implausible_birth_year, false) then year_birth end as {{ dbt.type_int() }})
            as birth_year,
        cast(education as {{ dbt.type_string() }}) as education,
        cast(marital_status as {{ dbt.type_string() }}) as marital_status,
        {{ to_money('income') }} as income,
        cast(kidhome + teenhome as {{ dbt.type_string() }}) as children,
        cast(country as {{ dbt.type_string() }}) as country,
        cast(num_web_purchases + num_catalog_purchases + num_store_purchases as bigint) as stated_purchases,
        cast(recency as bigint) as stated_recency_days,
        cast(_delivery as {{ dbt.type_string() }}) as delivery,
        cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
    from customers

)

select * from renamed
