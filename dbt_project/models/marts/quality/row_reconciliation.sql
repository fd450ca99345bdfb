with

-- Counted in the raw tables themselves: a row that staging or a join lost would be missed anywhere else.
landed as (

    {{ raw_row_counts() }}

),

kept as (

    select
        source_name,
        'customers' as table_name,
        count(*) as kept_rows
    from {{ ref('dim_customers') }}
    where not is_inferred
    group by source_name

    union all

    select
        source_name,
        'products' as table_name,
        count(*) as kept_rows
    from {{ ref('dim_products') }}
    where not is_inferred
    group by source_name

    union all

    select
        source_name,
        'purchases' as table_name,
        count(*) as kept_rows
    from {{ ref('fct_purchases') }}
    group by source_name

),

rejected as (

    select
        source_name,
        table_name,
        count(*) as rejected_rows,
        sum(amount) as rejected_amount
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
    cast(coalesce(rejected.rejected_amount, 0) as decimal(18, 2)) as rejected_amount
from landed
left join kept
    on
        landed.source_name = kept.source_name
        and landed.table_name = kept.table_name
left join rejected
    on
        landed.source_name = rejected.source_name
        and landed.table_name = rejected.table_name
