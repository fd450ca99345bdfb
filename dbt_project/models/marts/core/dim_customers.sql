{%- set known_columns = [
    'birth_year', 'age_band', 'education', 'marital_status', 'income', 'income_band', 'household_size',
    'household_composition', 'children', 'home_ownership', 'country'
] -%}
with

customers as (

    select * from {{ ref('int_customers') }}
    where rejection_reason is null

),

numbers as (

    select * from {{ ref('customer_numbers') }}

),

baskets as (

    select * from {{ ref('fct_baskets') }}

),

-- What the customer files of shops without purchase lines say.
undated as (

    select
        numbers.customer_key,
        sum(undated_customers.stated_purchases) as stated_purchases,
        min(undated_customers.stated_recency_days) as stated_recency_days
    from {{ ref('int_undated_customers') }} as undated_customers
    inner join numbers
        on
            undated_customers.source_name = numbers.source_name
            and undated_customers.customer_id = numbers.customer_id
    group by numbers.customer_key

),

undated_spending as (

    select
        customer_key,
        source_name,
        sum(amount) as spending
    from {{ ref('fct_category_spending') }}
    where spending_basis = 'totals without dates'
    group by
        customer_key,
        source_name

),

undated_totals as (

    select
        customer_key,
        sum(spending) as spending
    from undated_spending
    group by customer_key

),

churn as (

    select * from {{ ref('int_churn') }}

),

-- Of a person with several numbers each value is that of the first number whose shop knows it.
known as (

    select
        numbers.customer_key,
        {%- for column in known_columns %}
            {{ first_known('customers.' ~ column, 'numbers.position') }} as {{ column }},
        {%- endfor %}
        {{ first_known('case when customers.country is not null then customers.source_name end', 'numbers.position') }}
            as country_source_name
    from numbers
    inner join customers
        on
            numbers.source_name = customers.source_name
            and numbers.customer_id = customers.customer_id
    group by numbers.customer_key

),

keys as (

    select
        customer_key,
        max(person) as person,
        max(case when position = 1 then source_name end) as source_name,
        max(case when position = 1 then customer_id end) as customer_id,
        min(case when is_inferred then 1 else 0 end) = 1 as is_inferred
    from numbers
    group by customer_key

),

returned as (

    select
        numbers.customer_key,
        count(*) as return_count,
        -- A return is sent with a negative amount, a negative quantity or both.
        sum({{ converted('abs(lines.amount)', 'rates.rate') }}) as returned_amount
    from {{ ref('int_purchase_lines') }} as lines
    inner join numbers
        on
            lines.source_name = numbers.source_name
            and lines.customer_id = numbers.customer_id
    left join {{ ref('daily_exchange_rates') }} as rates
        on
            lines.source_name = rates.source_name
            and cast(lines.purchased_at as date) = rates.rate_date
    where lines.rejection_reason = 'return'
    group by numbers.customer_key

),

-- "Now" is the newest purchase of the shop, so that the same raw data gives the same customers on any day.
newest as (

    select
        source_name,
        max(purchase_date) as newest_date
    from baskets
    group by source_name

),

-- The shops that each customer buys in. Of the totals of a shop without purchase lines there is no newest date.
bought_in as (

    select
        customer_key,
        source_name
    from baskets

    union distinct

    select
        customer_key,
        source_name
    from undated_spending

),

-- For a customer of several shops it is that of the newest of them.
as_of as (

    select
        bought_in.customer_key,
        count(*) as shop_count,
        {{ dbt.listagg('bought_in.source_name', "', '", 'order by bought_in.source_name') }} as shops,
        max(newest.newest_date) as as_of_date
    from bought_in
    left join newest
        on bought_in.source_name = newest.source_name
    group by bought_in.customer_key

),

dated as (

    select
        baskets.*,
        as_of.as_of_date,
        {{ dbt.dateadd('day', -var('frequency_days'), 'as_of.as_of_date') }} as window_start
    from baskets
    inner join as_of
        on baskets.customer_key = as_of.customer_key

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

joined as (

    select
        keys.customer_key,
        keys.source_name,
        keys.customer_id,
        keys.person,
        keys.is_inferred,
        {%- for column in known_columns %}
            known.{{ column }},
        {%- endfor %}
        countries.country_code,
        countries.country_name,
        countries.region,
        countries.subregion,
        buying.first_purchase_date,
        buying.last_purchase_date,
        {{ days_between('first_purchase_date', 'buying.as_of_date') }} as tenure_days,
        {%- set recency_days = days_between('last_purchase_date', 'buying.as_of_date') %}
        {%- set has_lines = 'undated.customer_key is null or buying.customer_key is not null' %}
        case
            when undated.customer_key is null then 'purchase lines'
            when buying.customer_key is null then 'totals without dates'
            else 'purchase lines and totals'
        end as spending_basis,
        coalesce({{ recency_days }}, undated.stated_recency_days) as recency_days,
        coalesce(buying.basket_count, 0)
        + case when undated.customer_key is null then 0 else undated.stated_purchases end as basket_count,
        coalesce(buying.total_spending, 0) + coalesce(undated_totals.spending, 0) as total_spending,
        -- Totals do not tell what was bought lately, and what was returned.
        case when {{ has_lines }} then coalesce(buying.purchase_frequency, 0) end as purchase_frequency,
        case when {{ has_lines }} then coalesce(returned.return_count, 0) end as return_count,
        case when {{ has_lines }} then coalesce(returned.returned_amount, 0) end as returned_amount,
        churn.churn_probability,
        coalesce(as_of.shop_count, 0) as shop_count,
        as_of.shops
    from keys
    left join known
        on keys.customer_key = known.customer_key
    left join {{ ref('int_countries') }} as countries
        on
            known.country_source_name = countries.source_name
            and known.country = countries.country
    left join as_of
        on keys.customer_key = as_of.customer_key
    left join buying
        on keys.customer_key = buying.customer_key
    left join returned
        on keys.customer_key = returned.customer_key
    left join undated
        on keys.customer_key = undated.customer_key
    left join undated_totals
        on keys.customer_key = undated_totals.customer_key
    left join churn
        on keys.customer_key = churn.customer_key

),

-- Five equal groups of the customers who bought, 5 is best. Customers who tie share the lower group's number: where
-- most bought once, buying once is not frequent. Without dates, all purchases that the shop counts are taken.
scored as (

    select
        customer_key,
        {{ quintile('recency_days', 'desc') }} as recency_score,
        {{ quintile('coalesce(purchase_frequency, basket_count)', 'asc') }} as frequency_score,
        {{ quintile('total_spending', 'asc') }} as monetary_score
    from joined
    where
        basket_count > 0
        and recency_days is not null

),

segmented as (

    select
        joined.*,
        scored.recency_score,
        scored.frequency_score,
        scored.monetary_score,
        case
            when scored.customer_key is null and joined.total_spending > 0 then 'unknown'
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
    churn_probability,
    person,
    cast(shop_count as bigint) as shop_count,
    shops,
    country_code,
    country_name,
    region,
    subregion,
    spending_basis
from segmented
