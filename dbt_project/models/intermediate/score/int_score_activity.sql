with

lines as (

    select * from {{ ref('int_score_lines') }}

)

select
    source_name,
    customer_number,
    category_number,
    {{ score_capped_step() }} as step,
    cast(sum(amount) as decimal(18, 2)) as amount
from lines
group by
    source_name,
    customer_number,
    category_number,
    {{ score_capped_step() }}
