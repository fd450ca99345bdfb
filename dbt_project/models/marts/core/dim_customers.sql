with

customers as (

    select * from {{ ref('int_customers') }}
    where rejection_reason is null

),

baskets as (

    select * from {{ ref('fct_baskets') }}

),

churn as (

    select * from {{ ref('int_churn') }}

),

lines as (

    select * from {{ ref('int_purchase_lines') }}
    where rejection_reason is null or rejection_reason = 'return'

),

returned as (

    select
        {{ source_key('customer_id') }} as customer_key,
        count(*) as return_count,
        -- A return is sent with a negative amount, a negative quantity or both.
        sum(abs(amount)) as returned_amount
    from lines
    where rejection_reason = 'return'
    group by
        source_name,
        customer_id

),

-- "Now" is the newest purchase of the shop, so that the same raw data gives the same customers on any day.
as_of as (

    select
        source_name,
        max(purchase_date) as as_of_date
    from baskets
    group by source_name

),

dated as (

    select
        baskets.*,
        as_of.as_of_date,
        {{ dbt.dateadd('day', -var('frequency_days'), 'as_of.as_of_date') }} as window_start
    from baskets
    inner join as_of
        on baskets.source_name = as_of.source_name

),

buying as (

    select
        customer_key,
        as_of_date,
        min(purchase_date) as first_purchase_date,
        max(purchase_date) as last_purchase_date,
        count(*) as basket_count,
        sum(case when purchase_date > cast(window_start as date) then 1 else 0 end) as purchase_frequency,
        sum(amount) as total_spending
    from dated
    group by
        customer_key,
        as_of_date

),

-- A customer that only purchases know is a customer all the same: an inferred member, so that no line is lost. Taken
-- from the lines, for a basket names only one customer, should a source have sent it with two.
keys as (

    select
        customer_key,
        source_name,
        customer_id
    from customers

    union distinct

    select
        {{ source_key('customer_id') }} as customer_key,
        source_name,
        customer_id
    from lines

),

joined as (

    select
        keys.customer_key,
        keys.source_name,
        keys.customer_id,
        customers.customer_key is null as is_inferred,
        customers.birth_year,
        customers.age_band,
        customers.education,
        customers.marital_status,
        customers.income,
        customers.income_band,
        customers.household_size,
        customers.household_composition,
        customers.children,
        customers.home_ownership,
        customers.country,
        buying.first_purchase_date,
        buying.last_purchase_date,
        {{ days_between('last_purchase_date', 'as_of_date') }} as recency_days,
        {{ days_between('first_purchase_date', 'as_of_date') }} as tenure_days,
        coalesce(buying.basket_count, 0) as basket_count,
        coalesce(buying.purchase_frequency, 0) as purchase_frequency,
        coalesce(buying.total_spending, 0) as total_spending,
        coalesce(returned.return_count, 0) as return_count,
        coalesce(returned.returned_amount, 0) as returned_amount,
        churn.churn_probability
    from keys
    left join customers
        on keys.customer_key = customers.customer_key
    left join buying
        on keys.customer_key = buying.customer_key
    left join returned
        on keys.customer_key = returned.customer_key
    left join churn
        on keys.customer_key = churn.customer_key

),

-- Five equal groups of the customers who bought, 5 is best. Customers who tie share the lower group's number: where
-- most bought once, buying once is not frequent.
scored as (

    select
        customer_key,
        {{ quintile('recency_days', 'desc') }} as recency_score,
        {{ quintile('purchase_frequency', 'asc') }} as frequency_score,
        {{ quintile('total_spending', 'asc') }} as monetary_score
    from joined
    where basket_count > 0

),

segmented as (

    select
        joined.*,
        scored.recency_score,
        scored.frequency_score,
        scored.monetary_score,
        case
            when scored.customer_key is null then 'no purchases'
            when joined.tenure_days <= {{ var('new_customer_days') }} then 'new'
            when
                scored.recency_score >= 4 and scored.frequency_score >= 4 and scored.monetary_score >= 4
                then 'champion'
            when scored.recency_score >= 3 and scored.frequency_score >= 4 then 'loyal'
            when scored.recency_score <= 2 and scored.frequency_score >= 3 then 'less recent'
            when scored.recency_score <= 2 then 'occasional'
            else 'regular'
        end as rfm_segment
    from joined
    left join scored
        on joined.customer_key = scored.customer_key

)

select
    customer_key,
    source_name,
    customer_id,
    is_inferred,
    birth_year,
    age_band,
    education,
    marital_status,
    income,
    income_band,
    household_size,
    household_composition,
    children,
    home_ownership,
    country,
    first_purchase_date,
    last_purchase_date,
    cast(recency_days as bigint) as recency_days,
    cast(basket_count as bigint) as basket_count,
    cast(purchase_frequency as bigint) as purchase_frequency,
    cast(total_spending as decimal(18, 2)) as total_spending,
    {{ to_money('total_spending / nullif(basket_count, 0)') }} as average_basket,
    cast(return_count as bigint) as return_count,
    cast(returned_amount as decimal(18, 2)) as returned_amount,
    cast(recency_score as bigint) as recency_score,
    cast(frequency_score as bigint) as frequency_score,
    cast(monetary_score as bigint) as monetary_score,
    rfm_segment,
    churn_probability
from segmented
