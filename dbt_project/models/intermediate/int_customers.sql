with

customers as (

    {{ union_sources('customers') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by source_name, customer_id
            order by
                load_id desc,
                age_band asc,
                income_band asc,
                marital_status asc,
                household_size asc,
                household_composition asc,
                children asc,
                home_ownership asc,
                birth_year asc,
                education asc,
                income asc,
                country asc
        ) as version_number
    from customers

),

with_reasons as (

    select
        *,
        {{ source_key('customer_id') }} as customer_key,
        case
            when customer_id is null then 'missing_customer_id'
            when version_number > 1 then 'repeated_customer_id'
        end as rejection_reason
    from ranked

)

select * from with_reasons
