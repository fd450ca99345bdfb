{{ config(enabled='crm' in var('sources')) }}
with

customers as (

    select * from {{ ref('base_crm__customers') }}

),

findings as (

    select
        id,
        'birth_year' as column_name,
        'implausible_birth_year' as finding,
        cast(year_birth as {{ dbt.type_string() }}) as sent_value,
        cast(null as {{ dbt.type_string() }}) as kept_value,
        'An age of ' || cast(enrolment_age as {{ dbt.type_string() }}) || ' years at the time of enrolment.' as why,
        _delivery,
        _dlt_load_id
    from customers
    where has_implausible_birth_year

    union all

    -- Of three who are the same, each names one of the others.
    select
        id,
        'customer_id' as column_name,
        'same_as_another_customer' as finding,
        cast(id as {{ dbt.type_string() }}) as sent_value,
        cast(id as {{ dbt.type_string() }}) as kept_value,
        'Customer '
        || cast(case when id = first_same_id then last_same_id else first_same_id end as {{ dbt.type_string() }})
        || ' is the same in everything but the number.' as why,
        _delivery,
        _dlt_load_id
    from customers
    where first_same_id <> last_same_id

)

select
    cast('crm' as {{ dbt.type_string() }}) as source_name,
    cast('customers' as {{ dbt.type_string() }}) as table_name,
    cast(id as {{ dbt.type_string() }}) as record_id,
    cast(column_name as {{ dbt.type_string() }}) as column_name,
    cast(finding as {{ dbt.type_string() }}) as finding,
    cast(sent_value as {{ dbt.type_string() }}) as sent_value,
    cast(kept_value as {{ dbt.type_string() }}) as kept_value,
    cast(why as {{ dbt.type_string() }}) as why,
    cast(_delivery as {{ dbt.type_string() }}) as delivery,
    cast(_dlt_load_id as {{ dbt.type_string() }}) as load_id
from findings
