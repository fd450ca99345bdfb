with

-- Totals are parts of raw rows, and are counted as staging has them. A separate test compares their amounts with the
-- raw table.
landed as (

    select
        source_name,
        table_name,
        row_count
    from {{ ref('int_raw_row_counts') }}

    union all

    select
        source_name,
        'category_totals' as table_name,
        count(*) as row_count
    from {{ ref('int_staged_category_totals') }}
    group by source_name

),

-- Amounts as staging reads them; a separate test compares those with the raw table.
raw_amounts as (

    select
        source_name,
        'purchases' as table_name,
        sum(amount) as raw_amount
    from {{ ref('int_staged_purchases') }}
    group by source_name

    union all

    select
        source_name,
        'category_totals' as table_name,
        sum(amount) as raw_amount
    from {{ ref('int_staged_category_totals') }}
    group by source_name

),

kept as (

    select
        source_name,
        'customers' as table_name,
        count(*) as kept_rows,
        0 as kept_amount
    from {{ ref('customer_numbers') }}
    where not is_inferred
    group by source_name

    union all

    select
        source_name,
        'products' as table_name,
        count(*) as kept_rows,
        0 as kept_amount
    from {{ ref('product_numbers') }}
    where not is_inferred
    group by source_name

    union all

    select
        source_name,
        'purchases' as table_name,
        count(*) as kept_rows,
        sum(original_amount) as kept_amount
    from {{ ref('fct_purchases') }}
    group by source_name

    union all

    select
        source_name,
        'category_totals' as table_name,
        sum(total_count) as kept_rows,
        sum(original_amount) as kept_amount
    from {{ ref('fct_category_spending') }}
    where spending_basis = 'totals without dates'
    group by source_name

),

rejected as (

    select
        source_name,
        table_name,
        count(*) as rejected_rows,
        sum(amount) as rejected_amount,
        sum(case when rejection_kind = 'incomplete' then 1 else 0 end) as incomplete_rows,
        sum(case when rejection_kind = 'repeated' then 1 else 0 end) as repeated_rows,
        sum(case when rejection_kind = 'invalid' then 1 else 0 end) as invalid_rows,
        sum(case when rejection_kind = 'set aside' then 1 else 0 end) as set_aside_rows
    from {{ ref('rejected_rows') }}
    group by
        source_name,
        table_name

)

select
    landed.source_name,
    landed.table_name,
    cast(landed.row_count as bigint) as raw_rows,
    cast(coalesce(kept.kept_rows, 0) as bigint) as kept_rows,
    cast(coalesce(rejected.rejected_rows, 0) as bigint) as rejected_rows,
    cast(coalesce(rejected.incomplete_rows, 0) as bigint) as incomplete_rows,
    cast(coalesce(rejected.repeated_rows, 0) as bigint) as repeated_rows,
    cast(coalesce(rejected.invalid_rows, 0) as bigint) as invalid_rows,
    cast(coalesce(rejected.set_aside_rows, 0) as bigint) as set_aside_rows,
    cast(coalesce(raw_amounts.raw_amount, 0) as decimal(18, 2)) as raw_amount,
    cast(coalesce(kept.kept_amount, 0) as decimal(18, 2)) as kept_amount,
    cast(coalesce(rejected.rejected_amount, 0) as decimal(18, 2)) as rejected_amount
from landed
left join raw_amounts
    on
        landed.source_name = raw_amounts.source_name
        and landed.table_name = raw_amounts.table_name
left join kept
    on
        landed.source_name = kept.source_name
        and landed.table_name = kept.table_name
left join rejected
    on
        landed.source_name = rejected.source_name
        and landed.table_name = rejected.table_name
