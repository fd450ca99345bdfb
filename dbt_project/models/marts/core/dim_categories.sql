with

products as (

    select * from {{ ref('dim_products') }}

),

purchases as (

    select * from {{ ref('fct_purchases') }}

),

labels as (

    select * from {{ ref('category_labels') }}

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

),

joined as (

    select
        catalogue.*,
        {{ category_label('catalogue.category_name', 'labels.category_label') }} as category_label,
        departments.department,
        coalesce(sales.line_count, 0) as line_count,
        coalesce(sales.basket_count, 0) as basket_count,
        coalesce(sales.customer_count, 0) as customer_count,
        coalesce(sales.total_spending, 0) as total_spending,
        -- Null in a shop without purchases; there is nothing to have a share of.
        cast(coalesce(sales.customer_count, 0) as double) / nullif(shops.customer_count, 0) as penetration,
        cast(coalesce(sales.total_spending, 0) as double)
        / nullif(cast(shops.total_spending as double), 0) as spending_share,
        sales.first_purchase_date,
        sales.last_purchase_date
    from catalogue
    left join departments
        on
            catalogue.category_key = departments.category_key
            and departments.department_rank = 1
    left join labels
        on
            catalogue.source_name = labels.source_name
            and catalogue.category_name = labels.category_name
    left join sales
        on catalogue.category_key = sales.category_key
    left join shops
        on catalogue.source_name = shops.source_name

)

select
    category_key,
    source_name,
    category_name,
    category_label,
    department,
    cast(department_count as bigint) as department_count,
    cast(product_count as bigint) as product_count,
    is_merchandise,
    cast(line_count as bigint) as line_count,
    cast(basket_count as bigint) as basket_count,
    cast(customer_count as bigint) as customer_count,
    cast(total_spending as decimal(18, 2)) as total_spending,
    penetration,
    {{ is_staple('penetration') }} as is_staple,
    spending_share,
    first_purchase_date,
    last_purchase_date
from joined
