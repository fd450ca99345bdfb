-- How many adoptions each window of the past brought, and how many were possible when it began: of the customers that
-- are learned from, in shops that are scored by themselves.
with

markets as (

    select source_name
    from {{ ref('int_score_markets') }}
    group by source_name
    having max(case when source_name = category_source_name then 0 else 1 end) = 0

),

sampled as (

    select customers.customer_number
    from {{ ref('int_score_customers') }} as customers
    inner join markets
        on customers.source_name = markets.source_name
    where
        customers.step = 0
        and customers.is_sampled

),

lines as (

    select
        lines.source_name,
        lines.as_of_date,
        lines.customer_number,
        lines.category_number,
        lines.purchase_date,
        lines.step
    from {{ ref('int_score_lines') }} as lines
    inner join sampled
        on lines.customer_number = sampled.customer_number

),

shops as (

    select
        source_name,
        as_of_date,
        min(purchase_date) as first_date
    from lines
    group by
        source_name,
        as_of_date

),

steps as (

    {{ steps_up_to(level_last_step()) }}

),

dated as (

    select
        shops.source_name,
        steps.step,
        shops.first_date,
        {{ dbt.dateadd('day', 'steps.step * -' ~ var('score_horizon_days'), 'shops.as_of_date') }} as as_of_date
    from shops
    cross join steps

),

-- A date needs a whole horizon before it: on a shop's first days, all purchases are first ones.
dates as (

    select
        source_name,
        step,
        as_of_date
    from dated
    where
        step = 0
        or {{ days_between('first_date', 'as_of_date') }} + 1 >= {{ var('score_horizon_days') }}

),

visits as (

    select
        source_name,
        customer_number,
        step,
        max(purchase_date) as last_purchase_date
    from lines
    group by
        source_name,
        customer_number,
        step

),

active as (

    select
        dates.source_name,
        dates.step,
        visits.customer_number,
        max(case when visits.step = dates.step then 1 else 0 end) as is_recent
    from visits
    inner join dates
        on
            visits.source_name = dates.source_name
            and visits.step >= dates.step
            and visits.step <= dates.step + {{ score_active_steps() }}
    where {{ days_between('visits.last_purchase_date', 'dates.as_of_date') }} < {{ var('score_active_days') }}
    group by
        dates.source_name,
        dates.step,
        visits.customer_number

),

first_purchases as (

    select
        source_name,
        customer_number,
        category_number,
        max(step) as adopted_step
    from lines
    group by
        source_name,
        customer_number,
        category_number

),

sold as (

    select
        source_name,
        category_number,
        max(adopted_step) as first_sold_step
    from first_purchases
    group by
        source_name,
        category_number

),

categories as (

    select
        dates.source_name,
        dates.step,
        count(*) as category_count
    from dates
    inner join sold
        on
            dates.source_name = sold.source_name
            and dates.step <= sold.first_sold_step
    group by
        dates.source_name,
        dates.step

),

begun as (

    select
        customer_number,
        adopted_step,
        count(*) as category_count
    from first_purchases
    group by
        customer_number,
        adopted_step

),

owned as (

    select
        active.source_name,
        active.step,
        sum(begun.category_count) as owned_count
    from active
    inner join begun
        on
            active.customer_number = begun.customer_number
            and active.step <= begun.adopted_step
    group by
        active.source_name,
        active.step

),

customers as (

    select
        source_name,
        step,
        count(*) as active_count,
        sum(is_recent) as recent_count
    from active
    group by
        source_name,
        step

),

adopted as (

    select
        active.source_name,
        active.step,
        count(*) as adoption_count
    from active
    inner join first_purchases
        on
            active.customer_number = first_purchases.customer_number
            and active.step = first_purchases.adopted_step + 1
    inner join sold
        on first_purchases.category_number = sold.category_number
    where active.step <= sold.first_sold_step
    group by
        active.source_name,
        active.step

)

select
    customers.source_name,
    cast(customers.step as {{ dbt.type_int() }}) as step,
    cast(customers.active_count as bigint) as active_count,
    cast(customers.recent_count as bigint) as recent_count,
    cast(customers.active_count * categories.category_count - owned.owned_count as bigint) as candidate_count,
    case when customers.step > 0 then cast(coalesce(adopted.adoption_count, 0) as bigint) end as adoption_count
from customers
inner join categories
    on
        customers.source_name = categories.source_name
        and customers.step = categories.step
inner join owned
    on
        customers.source_name = owned.source_name
        and customers.step = owned.step
left join adopted
    on
        customers.source_name = adopted.source_name
        and customers.step = adopted.step
