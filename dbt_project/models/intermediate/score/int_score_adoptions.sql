with

activity as (

    select * from {{ ref('int_score_activity') }}

),

-- Steps count back in time: the highest is the earliest.
numbered as (

    select
        *,
        row_number() over (
            partition by customer_number, category_number
            order by step desc
        ) as position
    from activity

)

select
    source_name,
    customer_number,
    category_number,
    step as adopted_step,
    amount
from numbered
where position = 1
