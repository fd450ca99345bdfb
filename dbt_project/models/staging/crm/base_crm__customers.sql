{{ config(enabled='crm' in var('sources')) }}
{#- All that the file says about a customer, but for the number. -#}
{% set attributes = [
    'year_birth', 'education', 'marital_status', 'income', 'kidhome', 'teenhome', 'dt_customer', 'recency', 'mnt_wines',
    'mnt_fruits', 'mnt_meat_products', 'mnt_fish_products', 'mnt_sweet_products', 'mnt_gold_prods', 'num_deals_purchases',
    'num_web_purchases', 'num_catalog_purchases', 'num_store_purchases', 'num_web_visits_month', 'accepted_cmp3',
    'accepted_cmp4', 'accepted_cmp5', 'accepted_cmp1', 'accepted_cmp2', 'response', 'complain', 'country',
] -%}
with

landed as (

    select * from {{ source('crm', 'customers') }}

),

compared as (

    select
        *,
        extract(year from dt_customer) - year_birth as enrolment_age,
        -- The smallest number among the customers of a delivery who are the same in everything else.
        min(id) over (
            partition by _delivery, _dlt_load_id, {{ attributes | join(', ') }}
        ) as first_same_id,
        max(id) over (
            partition by _delivery, _dlt_load_id, {{ attributes | join(', ') }}
        ) as last_same_id
    from landed

)

select
    *,
    -- Null where there is no date of enrolment: nothing says that the year is wrong.
    enrolment_age < 0 or enrolment_age > {{ var('oldest_customer_age') }} as has_implausible_birth_year
from compared
