with

activity as (

    select * from {{ ref('int_score_activity') }}

),

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}

),

dates as (

    select * from {{ ref('int_score_dates') }}

),

named as (

    select
        source_name,
        category_number,
        category_source_name,
        category_key,
        category_name,
        {{ dbt.hash('category_key') }} as category_hash,
        min(purchase_date) as first_sold_date
    from {{ ref('int_score_lines') }}
    group by
        source_name,
        category_number,
        category_source_name,
        category_key,
        category_name

),

names as (

    select
        named.*,
        {%- if var('score_level') == 'product' %}
            -- At this level the name is the product's number, which must stay as it is.
            named.category_name as category_label
        {%- else %}
            {{ category_label('named.category_name', 'labels.category_label') }} as category_label
        {%- endif %}
    from named
    left join {{ ref('category_labels') }} as labels
        on
            named.category_source_name = labels.source_name
            and named.category_name = labels.category_name

),

-- Everyone who owned the category at the date.
owners as (

    select
        dates.source_name,
        dates.step,
        adoptions.category_number,
        max(adoptions.adopted_step) as first_sold_step,
        count(*) as owner_count,
        sum(case when customers.is_active then 1 else 0 end) as active_owner_count,
        sum(case when customers.is_sampled then 1 else 0 end) as sampled_owner_count,
        sum(case when customers.is_sampled then customers.owned_count else 0 end) as sampled_owners_breadth,
        sum(case when {{ is_recent('adoptions.adopted_step', 'dates.step') }} then 1 else 0 end) as adopter_count,
        sum(
            case when {{ is_recent('adoptions.adopted_step', 'dates.step') }} then adoptions.amount else 0 end
        ) as adoption_amount
    from dates
    inner join adoptions
        on
            dates.source_name = adoptions.source_name
            and dates.step <= adoptions.adopted_step
    inner join customers
        on
            adoptions.customer_number = customers.customer_number
            and dates.step = customers.step
    group by
        dates.source_name,
        dates.step,
        adoptions.category_number

),

buyers as (

    select
        dates.source_name,
        dates.step,
        activity.category_number,
        count(distinct activity.customer_number) as buyer_count,
        sum(case when activity.step = dates.step then 1 else 0 end) as recent_buyer_count
    from dates
    inner join activity
        on
            dates.source_name = activity.source_name
            and dates.step <= activity.step
            and {{ is_recent('activity.step', 'dates.step') }}
    group by
        dates.source_name,
        dates.step,
        activity.category_number

),

shops as (

    select
        source_name,
        step,
        count(*) as customer_count,
        sum(case when is_active then 1 else 0 end) as active_customer_count,
        max(case when sample_letter = {{ score_any_letter() }} then 1 else 0 end) as has_any_letter,
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
        shops.customer_count,
        shops.active_customer_count,
        shops.has_any_letter,
        shops.sampled_breadth,
        shops.sampled_squared_breadth,
        shops.active_customer_count - owners.active_owner_count as candidate_count,
        -- The days in which these adoptions happened: the recent steps, or all days of a newer category.
        greatest(
            {{ adoption_rate_minimum_days() }},
            least(
                {{ score_recent_steps() * var('score_horizon_days') }},
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

-- The share of candidates who adopted it. Candidates are those who can still adopt it, and half of those who did: on
-- average they were candidates for half of the time.
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
    names.category_source_name,
    names.category_key,
    names.category_name,
    names.category_label,
    case
        when rated.has_any_letter = 1 then {{ score_any_letter() }} else substr(names.category_hash, 1, 1)
    end as sample_letter,
    rated.first_sold_step,
    cast(rated.owner_count as {{ dbt.type_int() }}) as owner_count,
    cast(rated.candidate_count as {{ dbt.type_int() }}) as candidate_count,
    cast(rated.adopter_count as {{ dbt.type_int() }}) as adopter_count,
    cast(rated.buyer_count as {{ dbt.type_int() }}) as buyer_count,
    cast(rated.owner_count as double) / rated.customer_count as penetration,
    least(
        {{ maximum_adoption_rate() }},
        greatest(
            {{ minimum_adoption_rate() }},
            coalesce(
                (rated.adopter_count + {{ adoption_rate_prior_adoptions() }})
                / (
                    rated.candidate_count
                    + rated.adopter_count / 2.0
                    + {{ adoption_rate_prior_adoptions() }} / nullif(rated.mean_rate, 0)
                ),
                0
            )
            * {{ var('score_horizon_days') }} / rated.adoption_days
        )
    ) as adoption_rate,
    ln({{ shrunk_share('rated.recent_buyer_count', 'rated.active_customer_count') }}) as recent_popularity,
    ln({{ shrunk_share('rated.buyer_count', 'rated.active_customer_count') }}) as popularity,
    cast(rated.sampled_owner_count as bigint) as sampled_owner_count,
    cast(rated.sampled_owners_breadth as bigint) as sampled_owners_breadth,
    cast(rated.sampled_breadth as bigint) as sampled_breadth,
    cast(rated.sampled_squared_breadth as double) as sampled_squared_breadth,
    rated.sampled_owner_count * 1.0 / nullif(rated.sampled_breadth, 0) as share_of_ownership,
    -- What a customer spends in it within the horizon in which they begin.
    (
        cast(rated.adoption_amount as double)
        + {{ expected_spend_prior_customers() }} * coalesce(rated.mean_adoption_amount, 0)
    )
    / (rated.adopter_count + {{ expected_spend_prior_customers() }}) as expected_spend
from rated
inner join names
    on rated.category_number = names.category_number
