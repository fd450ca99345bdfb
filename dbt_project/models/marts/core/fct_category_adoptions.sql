with

purchases as (

    select * from {{ ref('fct_purchases') }}

),

-- The first day on which the customer bought anything, even petrol.
first_days as (

    select
        customer_key,
        min(purchase_date) as first_purchase_date
    from purchases
    group by customer_key

),

first_purchases as (

    select
        customer_key,
        category_key,
        source_name,
        min(purchase_date) as adoption_date
    from purchases
    where is_merchandise
    group by
        customer_key,
        category_key,
        source_name

)

select
    first_purchases.customer_key || ':' || first_purchases.category_key as adoption_key,
    first_purchases.customer_key,
    first_purchases.category_key,
    first_purchases.source_name,
    first_purchases.adoption_date,
    first_days.first_purchase_date,
    first_purchases.adoption_date = first_days.first_purchase_date as is_first_day,
    cast(
        {{ days_between('first_days.first_purchase_date', 'first_purchases.adoption_date') }} as bigint
    ) as days_since_first_purchase
from first_purchases
inner join first_days
    on first_purchases.customer_key = first_days.customer_key
