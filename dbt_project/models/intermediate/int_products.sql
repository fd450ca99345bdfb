with

products as (

    {{ union_sources('products') }}

),

non_merchandise_departments as (

    select * from {{ ref('non_merchandise_departments') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by source_name, product_id
            order by
                load_id desc,
                department asc,
                category asc,
                product_type asc,
                brand asc,
                manufacturer_id asc,
                package_size asc,
                product_name asc
        ) as version_number
    from products

),

with_reasons as (

    select
        ranked.*,
        {{ source_key('ranked.product_id', 'ranked.source_name') }} as product_key,
        non_merchandise_departments.department is null as is_merchandise,
        case
            when ranked.product_id is null then 'missing_product_id'
            when ranked.version_number > 1 then 'repeated_product_id'
        end as rejection_reason
    from ranked
    left join non_merchandise_departments
        on
            ranked.source_name = non_merchandise_departments.source_name
            and ranked.department = non_merchandise_departments.department

)

select * from with_reasons
