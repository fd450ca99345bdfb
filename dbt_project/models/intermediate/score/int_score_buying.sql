with

bought as (

    select
        source_name,
        customer_number,
        category_number,
        {{ score_capped_step() }} as step,
        sum(amount) as amount
    from {{ ref('int_score_lines') }}
    group by
        source_name,
        customer_number,
        category_number,
        {{ score_capped_step() }}

)

select
    source_name,
    customer_number,
    category_number,
    step,
    max(step) over (partition by customer_number, category_number) as adopted_step,
    cast(amount as decimal(18, 2)) as amount
from bought
