with

products as (

    select * from {{ ref('dim_products') }}

),

purchases as (

    select * from {{ ref('fct_purchases') }}

),

catalogue as (

    select
        category_key,
        source_name,
        category_name,
        count(*) as product_count,
        count(distinct department) as department_count,
        max(case when is_merchandise then 1 else 0 end) = 1 as is_merchandise
    from products
    group by
        category_key,
        source_name,
        category_name

),

-- A category may stand in several departments; the one with most of its products names it.
departments as (

    select
        category_key,
        department,
        row_number() over (
            partition by category_key
            order by count(*) desc, department asc
        ) as department_rank
    from products
    where department is not null
    group by
        category_key,
        department

),

sales as (

    select
        category_key,
        count(*) as line_count,
        count(distinct basket_key) as basket_count,
        count(distinct customer_key) as customer_count,
        sum(amount) as total_spending,
        min(purchase_date) as first_purchase_date,
        max(purchase_date) as last_purchase_date
    from purchases
    group by category_key

),

shops as (

    select
        source_name,
        count(distinct customer_key) as customer_count,
        sum(amount) as total_spending
    from purchases
    group by source_name

)

select
    catalogue.category_key,
    catalogue.source_name,
    catalogue.category_name,
    departments.department,
    cast(catalogue.department_count as bigint) as department_count,
    cast(catalogue.product_count as bigint) as product_count,
    catalogue.is_merchandise,
    cast(coalesce(sales.line_count, 0) as bigint) as line_count,
    cast(coalesce(sales.basket_count, 0) as bigint) as basket_count,
    cast(coalesce(sales.customer_count, 0) as bigint) as customer_count,
    cast(coalesce(sales.total_spending, 0) as decimal(18, 2)) as total_spending,
    -- Null in a shop without purchases; there is nothing to have a share of.
    cast(coalesce(sales.customer_count, 0) as double)
    / nullif(shops.customer_count, 0) as penetration,
    cast(coalesce(sales.total_spending, 0) as double)
    / nullif(cast(shops.total_spending as double), 0) as spending_share,
    sales.first_purchase_date,
    sales.last_purchase_date
from catalogue
left join departments
    on
        catalogue.category_key = departments.category_key
        and departments.department_rank = 1
left join sales
    on catalogue.category_key = sales.category_key
left join shops
    on catalogue.source_name = shops.source_name
