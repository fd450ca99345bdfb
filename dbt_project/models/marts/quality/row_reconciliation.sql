with

-- Counted in the raw tables themselves: a row that staging or a join lost would be missed anywhere else.
raw_rows as (

    {% for name in var('sources') -%}
    {%- for shape in ['customers', 'products', 'purchases'] %}
    select
        '{{ name }}' as source_name,
        '{{ shape }}' as table_name,
        count(*) as raw_rows
    from {{ source(name, shape) }}
    {% if not (loop.last and name == var('sources')[-1]) -%}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}

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
    raw_rows.source_name,
    raw_rows.table_name,
    cast(raw_rows.raw_rows as bigint) as raw_rows,
    cast(coalesce(kept.kept_rows, 0) as bigint) as kept_rows,
    cast(coalesce(rejected.rejected_rows, 0) as bigint) as rejected_rows,
    cast(coalesce(rejected.rejected_amount, 0) as decimal(18, 2)) as rejected_amount
from raw_rows
left join kept
    on
        raw_rows.source_name = kept.source_name
        and raw_rows.table_name = kept.table_name
left join rejected
    on
        raw_rows.source_name = rejected.source_name
        and raw_rows.table_name = rejected.table_name
