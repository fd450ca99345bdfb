with

buying as (

    select * from {{ ref('int_score_buying') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}

),

dates as (

    select * from {{ ref('int_score_dates') }}

),

names as (

    select
        category_number,
        category_key,
        category_name,
        {{ dbt.hash('category_key') }} as category_hash,
        min(purchase_date) as first_sold_date
    from {{ ref('int_score_lines') }}
    group by
        category_number,
        category_key,
        category_name

),

-- Everyone who owned the category at the date.
owners as (

    select
        dates.source_name,
        dates.step,
        buying.category_number,
        max(buying.step) as first_sold_step,
        count(*) as owner_count,
        sum(case when customers.is_active then 1 else 0 end) as active_owner_count,
        sum(case when customers.is_sampled then 1 else 0 end) as sampled_owner_count,
        sum(case when customers.is_sampled then customers.owned_count else 0 end) as sampled_owners_breadth,
        sum(case when buying.step <= dates.step + 2 then 1 else 0 end) as adopter_count,
        sum(case when buying.step <= dates.step + 2 then buying.amount else 0 end) as adoption_amount
    from dates
    inner join buying
        on
            dates.source_name = buying.source_name
            and dates.step <= buying.step
            and buying.step = buying.adopted_step
    inner join customers
        on
            buying.customer_number = customers.customer_number
            and dates.step = customers.step
    group by
        dates.source_name,
        dates.step,
        buying.category_number

),

buyers as (

    select
        dates.source_name,
        dates.step,
        buying.category_number,
        count(distinct buying.customer_number) as buyer_count,
        sum(case when buying.step = dates.step then 1 else 0 end) as recent_buyer_count
    from dates
    inner join buying
        on
            dates.source_name = buying.source_name
            and buying.step between dates.step and dates.step + 2
    group by
        dates.source_name,
        dates.step,
        buying.category_number

),

shops as (

    select
        source_name,
        step,
        sum(case when is_active then 1 else 0 end) as active_customer_count,
        sum(case when is_sampled then owned_count else 0 end) as sampled_breadth,
        sum(
            case when is_sampled then cast(owned_count as double) * owned_count else 0 end
        ) as sampled_squared_breadth
    from customers
    group by
        source_name,
        step

),

counted as (

    select
        owners.source_name,
        owners.step,
        owners.category_number,
        owners.first_sold_step,
        owners.owner_count,
        owners.sampled_owner_count,
        owners.sampled_owners_breadth,
        owners.adopter_count,
        owners.adoption_amount,
        coalesce(buyers.buyer_count, 0) as buyer_count,
        coalesce(buyers.recent_buyer_count, 0) as recent_buyer_count,
        shops.active_customer_count,
        shops.sampled_breadth,
        shops.sampled_squared_breadth,
        shops.active_customer_count - owners.active_owner_count as candidate_count,
        -- The days in which these adoptions happened: three steps, or all there is of a younger category; less than
        -- half a horizon is not stretched to a whole one.
        greatest(
            {{ var('score_horizon_days') / 2 }},
            least(
                {{ 3 * var('score_horizon_days') }},
                {{ days_between('names.first_sold_date', 'dates.as_of_date') }} + 1
            )
        ) as adoption_days
    from owners
    inner join shops
        on
            owners.source_name = shops.source_name
            and owners.step = shops.step
    inner join dates
        on
            owners.source_name = dates.source_name
            and owners.step = dates.step
    inner join names
        on owners.category_number = names.category_number
    left join buyers
        on
            owners.step = buyers.step
            and owners.category_number = buyers.category_number

),

-- Of those who could adopt it, how many did: those who still can, and half of those who did meanwhile, for on average
-- they could for half of the time. Drawn to the shop's mean rate by the weight of three adoptions.
rated as (

    select
        *,
        sum(adopter_count) over (partition by source_name, step) * 1.0
        / nullif(sum(candidate_count + adopter_count / 2.0) over (partition by source_name, step), 0) as mean_rate,
        cast(sum(adoption_amount) over (partition by source_name, step) as double)
        / nullif(sum(adopter_count) over (partition by source_name, step), 0) as mean_adoption_amount
    from counted

)

select
    rated.source_name,
    rated.step,
    rated.category_number,
    names.category_key,
    names.category_name,
    substr(names.category_hash, 1, 1) as hash_letter,
    rated.first_sold_step,
    cast(rated.owner_count as {{ dbt.type_int() }}) as owner_count,
    cast(rated.candidate_count as {{ dbt.type_int() }}) as candidate_count,
    cast(rated.adopter_count as {{ dbt.type_int() }}) as adopter_count,
    cast(rated.buyer_count as {{ dbt.type_int() }}) as buyer_count,
    least(
        0.5,
        greatest(
            0.000001,
            coalesce(
                (rated.adopter_count + 3)
                / (rated.candidate_count + rated.adopter_count / 2.0 + 3 / nullif(rated.mean_rate, 0)),
                0
            )
            * {{ var('score_horizon_days') }} / rated.adoption_days
        )
    ) as adoption_rate,
    ln((rated.recent_buyer_count + 1.0) / (rated.active_customer_count + 50)) as recent_popularity,
    ln((rated.buyer_count + 1.0) / (rated.active_customer_count + 50)) as popularity,
    cast(rated.sampled_owner_count as bigint) as sampled_owner_count,
    cast(rated.sampled_owners_breadth as bigint) as sampled_owners_breadth,
    cast(rated.sampled_breadth as bigint) as sampled_breadth,
    cast(rated.sampled_squared_breadth as double) as sampled_squared_breadth,
    rated.sampled_owner_count * 1.0 / nullif(rated.sampled_breadth, 0) as share_of_ownership,
    -- What somebody spends in it within the horizon in which they begin; shrunk to the shop's mean by five customers.
    (cast(rated.adoption_amount as double) + 5 * coalesce(rated.mean_adoption_amount, 0))
    / (rated.adopter_count + 5) as expected_spend
from rated
inner join names
    on rated.category_number = names.category_number
