-- How likely each customer is not to come back within churn_days, learned from what customers did who were as overdue
-- churn_days ago.
with

purchase_days as (

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
    from purchase_days
    group by source_name

),

-- Each customer is looked at twice: as they stood churn_days ago, where it is known what became of them, and as they
-- stand now.
looks as (

    select
        source_name,
        'then' as look,
        first_date,
        cast({{ dbt.dateadd('day', -var('churn_days'), 'newest_date') }} as date) as look_date
    from shops

    union all

    select
        source_name,
        'now' as look,
        first_date,
        newest_date as look_date
    from shops

),

paces as (

    select
        looks.source_name,
        looks.look,
        purchase_days.customer_key,
        count(*) - 1 as gap_count,
        {{ days_between('min(purchase_days.purchase_date)', 'max(purchase_days.purchase_date)') }} as span_days,
        {{ days_between('max(purchase_days.purchase_date)', 'looks.look_date') }} as recency_days,
        {{ days_between('looks.first_date', 'looks.look_date') }} as history_days
    from looks
    inner join purchase_days
        on
            looks.source_name = purchase_days.source_name
            and looks.look_date >= purchase_days.purchase_date
    group by
        looks.source_name,
        looks.look,
        looks.look_date,
        looks.first_date,
        purchase_days.customer_key

),

-- The shop's typical gap between two days of one customer. Rounded, as what follows: sums of fractions differ in their
-- last digits from build to build, and customers who tie must tie in all.
typical as (

    select
        source_name,
        look,
        round(avg(cast(span_days as double) / gap_count), 6) as gap_days
    from paces
    where gap_count > 0
    group by
        source_name,
        look

),

-- How many of their own gaps the customer has let pass. Unknown where nobody ever came twice.
overdue as (

    select
        paces.source_name,
        paces.look,
        paces.customer_key,
        paces.history_days,
        round(
            paces.recency_days * (paces.gap_count + {{ churn_prior_gaps() }})
            / (paces.span_days + {{ churn_prior_gaps() }} * typical.gap_days),
            9
        ) as overdue
    from paces
    left join typical
        on
            paces.source_name = typical.source_name
            and paces.look = typical.look

),

observed as (

    select
        overdue_then.source_name,
        overdue_then.overdue,
        -- Whoever bought since has been seen later than that day.
        case when paces_now.recency_days >= {{ var('churn_days') }} then 1 else 0 end as lapsed,
        -- Equals stay together, so that a bin may hold more than its share.
        floor({{ churn_bins() }} * least(0.9999, percent_rank() over (
            partition by overdue_then.source_name
            order by overdue_then.overdue
        ))) as raw_bin
    from overdue as overdue_then
    inner join paces as paces_now
        on
            overdue_then.customer_key = paces_now.customer_key
            and paces_now.look = 'now'
    where
        overdue_then.look = 'then'
        and overdue_then.overdue is not null
        and overdue_then.history_days >= {{ var('churn_days') }}

),

-- The share of all who lapsed; one more who did and one who did not (Laplace) keep it from 0 and 1.
bases as (

    select
        source_name,
        (cast(sum(lapsed) as double) + 1) / (count(*) + 2) as base_rate
    from observed
    group by source_name
    having count(*) >= {{ churn_least_customers() }}

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
        sum(observed.lapsed) + {{ churn_prior_customers() }} * min(bases.base_rate) as lapsed
    from observed
    inner join bases
        on observed.source_name = bases.source_name
    group by
        observed.source_name,
        observed.raw_bin

),

-- Isotonic regression: of all curves that never fall, the one nearest to the bins' rates. At each bin it is the
-- highest, over the bins it may start from, of the lowest mean, over the bins it may run to.
runs as (

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

lowest as (

    select
        bins.source_name,
        bins.bin,
        runs.first_bin,
        min(runs.lapse_rate) as lapse_rate
    from bins
    inner join runs
        on
            bins.source_name = runs.source_name
            and bins.bin between runs.first_bin and runs.last_bin
    group by
        bins.source_name,
        bins.bin,
        runs.first_bin

),

curve as (

    select
        bins.source_name,
        bins.bin,
        bins.overdue_from,
        max(lowest.lapse_rate) as lapse_rate
    from bins
    inner join lowest
        on
            bins.source_name = lowest.source_name
            and bins.bin = lowest.bin
    group by
        bins.source_name,
        bins.bin,
        bins.overdue_from

)

select
    overdue.source_name,
    overdue.customer_key,
    overdue.overdue,
    -- The curve never falls, so the highest of the bins that the customer has reached is the last of them.
    round(max(curve.lapse_rate), 9) as churn_probability
from overdue
left join curve
    on
        overdue.source_name = curve.source_name
        -- Whoever is less overdue than anybody was then counts as the least overdue of them.
        and (overdue.overdue >= curve.overdue_from or curve.bin = 1)
where overdue.look = 'now'
group by
    overdue.source_name,
    overdue.customer_key,
    overdue.overdue
