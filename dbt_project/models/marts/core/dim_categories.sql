with

products as (

    select * from {{ ref('product_numbers') }}

),

purchases as (

    select * from {{ ref('fct_purchases') }}

),

labels as (

    select * from {{ ref('category_labels') }}

),

totals as (

    select * from {{ ref('int_category_totals') }}
    where rejection_reason is null or rejection_reason = 'nothing_bought'

),

undated_spending as (

    select * from {{ ref('fct_category_spending') }}
    where spending_basis = 'totals without dates'

),

-- A category that only totals name has no products that are known by name.
all_products as (

    select
        category_key,
        source_name,
        category_name,
        department,
        is_merchandise,
        1 as product_count
    from products

    union all

    select distinct
        category_key,
        source_name,
        category as category_name,
        cast(null as {{ dbt.type_string() }}) as department,
        true as is_merchandise,
        0 as product_count
    from totals

),

catalogue as (

    select
        category_key,
        source_name,
        category_name,
        sum(product_count) as product_count,
        count(distinct department) as department_count,
        max(case when is_merchandise then 1 else 0 end) = 1 as is_merchandise
    from all_products
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

    union all

    select
        category_key,
        cast(null as bigint) as line_count,
        cast(null as bigint) as basket_count,
        count(*) as customer_count,
        sum(amount) as total_spending,
        cast(null as date) as first_purchase_date,
        cast(null as date) as last_purchase_date
    from undated_spending
    group by category_key

),

shops as (

    select
        source_name,
        count(distinct customer_key) as customer_count,
        sum(amount) as total_spending
    from purchases
    group by source_name

    union all

    select
        source_name,
        count(distinct customer_key) as customer_count,
        sum(amount) as total_spending
    from undated_spending
    group by source_name

),

joined as (

    select
        catalogue.*,
        {{ category_label('catalogue.category_name', 'labels.category_label') }} as category_label,
        departments.department,
        case when {{ is_undated('catalogue.source_name') }} then 'totals without dates' else 'purchase lines' end
            as spending_basis,
        case when sales.category_key is null then 0 else sales.line_count end as line_count,
        case when sales.category_key is null then 0 else sales.basket_count end as basket_count,
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
    spending_basis,
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
