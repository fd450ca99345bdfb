-- How likely each customer is not to come back within churn_days, learned from customers who were equally overdue
-- churn_days ago.
with

baskets as (

    select distinct
        source_name,
        customer_key,
        purchase_date
    from {{ ref('fct_baskets') }}

),

shops as (

    select
        source_name,
        min(purchase_date) as first_date,
        max(purchase_date) as newest_date
    from baskets
    group by source_name

),

-- A person who buys in several shops is compared with the customers of the one with the newest purchase.
customer_shops as (

    select
        customers.customer_key,
        shops.source_name,
        row_number() over (
            partition by customers.customer_key
            order by shops.newest_date desc, shops.source_name asc
        ) as position
    from (select distinct
        customer_key,
        source_name
    from baskets) as customers
    inner join shops
        on customers.source_name = shops.source_name

),

purchase_days as (

    select distinct
        customer_shops.source_name,
        baskets.customer_key,
        baskets.purchase_date
    from baskets
    inner join customer_shops
        on
            baskets.customer_key = customer_shops.customer_key
            and customer_shops.position = 1

),

-- Each customer is looked at twice: as of churn_days ago, from when it is known whether they came back, and as of now.
snapshots as (

    select
        source_name,
        'earlier' as snapshot,
        first_date,
        cast({{ dbt.dateadd('day', -var('churn_days'), 'newest_date') }} as date) as snapshot_date
    from shops

    union all

    select
        source_name,
        'newest' as snapshot,
        first_date,
        newest_date as snapshot_date
    from shops

),

gaps as (

    select
        snapshots.source_name,
        snapshots.snapshot,
        purchase_days.customer_key,
        count(*) - 1 as gap_count,
        {{ days_between('min(purchase_days.purchase_date)', 'max(purchase_days.purchase_date)') }} as span_days,
        {{ days_between('max(purchase_days.purchase_date)', 'snapshots.snapshot_date') }} as recency_days,
        {{ days_between('snapshots.first_date', 'snapshots.snapshot_date') }} as history_days
    from snapshots
    inner join purchase_days
        on
            snapshots.source_name = purchase_days.source_name
            and snapshots.snapshot_date >= purchase_days.purchase_date
    group by
        snapshots.source_name,
        snapshots.snapshot,
        snapshots.snapshot_date,
        snapshots.first_date,
        purchase_days.customer_key

),

-- The shop's typical gap between two days of one customer. Rounded, like what follows: sums of fractions differ in
-- their last digits from build to build, and customers who tie must tie in each build.
typical_gaps as (

    select
        source_name,
        snapshot,
        round(avg(cast(span_days as double) / gap_count), 6) as gap_days
    from gaps
    where gap_count > 0
    group by
        source_name,
        snapshot

),

-- Days since the last purchase, counted in the customer's own gaps. Null in a shop where no customer came twice.
overdue as (

    select
        gaps.source_name,
        gaps.snapshot,
        gaps.customer_key,
        gaps.history_days,
        round(
            gaps.recency_days * (gaps.gap_count + {{ churn_prior_gaps() }})
            / (gaps.span_days + {{ churn_prior_gaps() }} * typical_gaps.gap_days),
            9
        ) as overdue
    from gaps
    left join typical_gaps
        on
            gaps.source_name = typical_gaps.source_name
            and gaps.snapshot = typical_gaps.snapshot

),

observed as (

    select
        earlier_overdue.source_name,
        earlier_overdue.overdue,
        -- A customer who bought since then has a more recent last purchase.
        case when newest_gaps.recency_days >= {{ var('churn_days') }} then 1 else 0 end as lapsed,
        -- Equal values stay together, so that a bin may hold more than its share.
        floor({{ churn_bins() }} * least(0.9999, percent_rank() over (
            partition by earlier_overdue.source_name
            order by earlier_overdue.overdue
        ))) as raw_bin
    from overdue as earlier_overdue
    inner join gaps as newest_gaps
        on
            earlier_overdue.customer_key = newest_gaps.customer_key
            and newest_gaps.snapshot = 'newest'
    where
        earlier_overdue.snapshot = 'earlier'
        and earlier_overdue.overdue is not null
        and earlier_overdue.history_days >= {{ var('churn_days') }}

),

-- The share of customers who lapsed; one more who did and one more who did not (Laplace) keep it from 0 and 1.
base_rates as (

    select
        source_name,
        (cast(sum(lapsed) as double) + 1) / (count(*) + 2) as base_rate
    from observed
    group by source_name
    having count(*) >= {{ churn_minimum_customers() }}

),

bins as (

    select
        observed.source_name,
        row_number() over (
            partition by observed.source_name
            order by observed.raw_bin
        ) as bin,
        min(observed.overdue) as overdue_from,
        count(*) + {{ churn_prior_customers() }} as weight,
        sum(observed.lapsed) + {{ churn_prior_customers() }} * min(base_rates.base_rate) as lapsed
    from observed
    inner join base_rates
        on observed.source_name = base_rates.source_name
    group by
        observed.source_name,
        observed.raw_bin

),

-- Isotonic regression: of all curves that never fall, the one closest to the bins' rates. Its value at a bin is the
-- maximum, over the first bins of the ranges that contain it, of the minimum, over their last bins, of the mean rate.
bin_ranges as (

    select
        first_bin.source_name,
        first_bin.bin as first_bin,
        last_bin.bin as last_bin,
        sum(between_them.lapsed) / sum(between_them.weight) as lapse_rate
    from bins as first_bin
    inner join bins as last_bin
        on
            first_bin.source_name = last_bin.source_name
            and first_bin.bin <= last_bin.bin
    inner join bins as between_them
        on
            first_bin.source_name = between_them.source_name
            and between_them.bin between first_bin.bin and last_bin.bin
    group by
        first_bin.source_name,
        first_bin.bin,
        last_bin.bin

),

lowest_rates as (

    select
        bins.source_name,
        bins.bin,
        bin_ranges.first_bin,
        min(bin_ranges.lapse_rate) as lapse_rate
    from bins
    inner join bin_ranges
        on
            bins.source_name = bin_ranges.source_name
            and bins.bin between bin_ranges.first_bin and bin_ranges.last_bin
    group by
        bins.source_name,
        bins.bin,
        bin_ranges.first_bin

),

curve as (

    select
        bins.source_name,
        bins.bin,
        bins.overdue_from,
        max(lowest_rates.lapse_rate) as lapse_rate
    from bins
    inner join lowest_rates
        on
            bins.source_name = lowest_rates.source_name
            and bins.bin = lowest_rates.bin
    group by
        bins.source_name,
        bins.bin,
        bins.overdue_from

)

select
    overdue.source_name,
    overdue.customer_key,
    overdue.overdue,
    -- The curve never falls, so the highest rate among the bins that the customer has reached is that of the last.
    round(max(curve.lapse_rate), 9) as churn_probability
from overdue
left join curve
    on
        overdue.source_name = curve.source_name
        -- A customer who is less overdue than anybody was then counts as the least overdue.
        and (overdue.overdue >= curve.overdue_from or curve.bin = 1)
where overdue.snapshot = 'newest'
group by
    overdue.source_name,
    overdue.customer_key,
    overdue.overdue
