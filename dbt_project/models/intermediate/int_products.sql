with

delivered as (

    {{ delivered_rows('products') }}

),

non_merchandise_departments as (

    select * from {{ ref('non_merchandise_departments') }}

),

named_categories as (

    select * from {{ ref('int_named_categories') }}

),

-- Rows that the source itself no longer counts do not compete with the others.
ranked as (

    select
        *,
        max(load_id) over (partition by source_name, product_id, set_aside_reason) as newest_load_id,
        row_number() over (
            partition by source_name, product_id, set_aside_reason
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
    from delivered

),

with_reasons as (

    select
        ranked.*,
        {{ source_key('ranked.product_id', 'ranked.source_name') }} as product_key,
        coalesce(ranked.category, named_categories.category_name) as category_name,
        non_merchandise_departments.department is null
        and not {{ is_non_merchandise_product('ranked.product_id', 'ranked.source_name') }} as is_merchandise,
        case
            when ranked.set_aside_reason is not null then ranked.set_aside_reason
            when ranked.product_id is null and ranked.is_superseded then 'superseded_delivery'
            when ranked.product_id is null then 'missing_product_id'
            when ranked.load_id < ranked.newest_load_id then 'superseded_version'
            when ranked.version_number > 1 then 'repeated_product_id'
        end as rejection_reason
    from ranked
    left join non_merchandise_departments
        on
            ranked.source_name = non_merchandise_departments.source_name
            and ranked.department = non_merchandise_departments.department
    left join named_categories
        on
            ranked.source_name = named_categories.source_name
            and ranked.product_name = named_categories.product_name

)

select * from with_reasons
