with

lines as (

    select * from {{ ref('int_score_lines') }}

),

dates as (

    select * from {{ ref('int_score_dates') }}

),

visits as (

    select
        source_name,
        customer_key,
        customer_number,
        {{ score_capped_step() }} as step,
        count(distinct purchase_date) as visit_days,
        min(purchase_date) as first_purchase_date,
        max(purchase_date) as last_purchase_date,
        sum(amount) as amount
    from lines
    group by
        source_name,
        customer_key,
        customer_number,
        {{ score_capped_step() }}

),

adopted as (

    select
        customer_number,
        adopted_step,
        count(*) as category_count
    from {{ ref('int_score_adoptions') }}
    group by
        customer_number,
        adopted_step

),

sold as (

    select
        source_name,
        category_number,
        max(adopted_step) as first_sold_step
    from {{ ref('int_score_adoptions') }}
    group by
        source_name,
        category_number

),

shops as (

    select
        source_name,
        count(*) as category_count
    from sold
    group by source_name

),

category_counts as (

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

-- In a large shop only a sample of the customers is used for learning and for the back-test. It is picked by a hash of
-- the key, so that it is the same in each build and does not depend on what they buy.
sample as (

    select
        customer_number,
        {{ dbt.hash('customer_key') }} as customer_hash,
        row_number() over (
            partition by source_name
            order by {{ dbt.hash('customer_key') }}, customer_key
        ) as position
    from (select distinct
        source_name,
        customer_key,
        customer_number
    from visits) as customers

),

counted as (

    select
        dates.source_name,
        dates.step,
        dates.as_of_date,
        visits.customer_key,
        visits.customer_number,
        min(visits.first_purchase_date) as first_purchase_date,
        max(visits.last_purchase_date) as last_purchase_date,
        sum(case when visits.step = dates.step then visits.visit_days else 0 end) as visits_recent,
        sum(visits.visit_days) as visits_all,
        sum(case when {{ is_recent('visits.step', 'dates.step') }} then visits.amount else 0 end) as amount_recent,
        coalesce(
            sum(case when {{ is_recent('visits.step', 'dates.step') }} then adopted.category_count end), 0
        ) as adopted_recent,
        coalesce(sum(adopted.category_count), 0) as owned_count
    from dates
    inner join visits
        on
            dates.source_name = visits.source_name
            and dates.step <= visits.step
    left join adopted
        on
            visits.customer_number = adopted.customer_number
            and visits.step = adopted.adopted_step
    group by
        dates.source_name,
        dates.step,
        dates.as_of_date,
        visits.customer_key,
        visits.customer_number

),

measured as (

    select
        *,
        {{ days_between('last_purchase_date', 'as_of_date') }} as recency_days,
        {{ days_between('first_purchase_date', 'as_of_date') }} as tenure_days
    from counted

),

with_sample as (

    select
        measured.*,
        measured.recency_days < {{ var('score_active_days') }} as is_active,
        category_counts.category_count,
        sample.position,
        substr(sample.customer_hash, 1, 1) as hash_letter,
        sample.position <= {{ var('score_learning_customers') }}
        and (
            sample.position <= {{ score_fewest_learning_customers() }}
            or sample.position * coalesce(shops.category_count, 0) <= {{ score_learning_pairs() }}
        ) as is_sampled
    from measured
    inner join sample
        on measured.customer_number = sample.customer_number
    left join shops
        on measured.source_name = shops.source_name
    left join category_counts
        on
            measured.source_name = category_counts.source_name
            and measured.step = category_counts.step

),

with_pairs as (

    select
        *,
        sum(case when is_active and is_sampled then category_count - owned_count else 0 end) over (
            partition by source_name, step
        ) as pair_count
    from with_sample

)

select
    source_name,
    step,
    customer_key,
    customer_number,
    cast(recency_days as {{ dbt.type_int() }}) as recency_days,
    cast(tenure_days as {{ dbt.type_int() }}) as tenure_days,
    cast(visits_recent as {{ dbt.type_int() }}) as visits_recent,
    cast(visits_all as {{ dbt.type_int() }}) as visits_all,
    cast(amount_recent as double) as amount_recent,
    cast(adopted_recent as {{ dbt.type_int() }}) as adopted_recent,
    cast(owned_count as {{ dbt.type_int() }}) as owned_count,
    is_active,
    is_sampled,
    is_active and (
        step = 0
        or (
            is_sampled
            and position <= {{ var('score_backtest_customers') }}
            and step <= {{ var('score_backtest_dates') }}
        )
    ) as is_scored,
    case
        when pair_count > {{ score_sampled_above_pairs() }} then hash_letter
        else {{ score_any_letter() }}
    end as sample_letter
from with_pairs
