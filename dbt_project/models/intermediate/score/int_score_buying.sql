{#- Older purchases share the last step: all that matters of them is that they happened. Features look three steps
    back. -#}
with

lines as (

    select
        *,
        least(step, {{ score_last_step() | int + 3 }}) as capped_step
    from {{ ref('int_score_lines') }}

),

bought as (

    select
        source_name,
        customer_number,
        category_number,
        capped_step as step,
        sum(amount) as amount
    from lines
    group by
        source_name,
        customer_number,
        category_number,
        capped_step

)

select
    source_name,
    customer_number,
    category_number,
    step,
    max(step) over (partition by customer_number, category_number) as adopted_step,
    cast(amount as decimal(18, 2)) as amount
from bought
