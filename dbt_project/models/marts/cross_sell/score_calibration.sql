{%- set kinds = {'all': "'all customers'", 'tenure': 'tenure_segment', 'spending': 'spending_segment'} -%}
with

scored_pairs as (

    select * from {{ ref('int_scores') }}
    where
        step > 0
        and score_basis not in ('category too new', 'too little history')

),

customers as (

    select
        step,
        customer_number,
        case when tenure_days <= {{ var('new_customer_days') }} then 'new' else 'loyal' end as tenure_segment,
        case
            when percent_rank() over (partition by source_name, step order by amount_recent) >= 0.5
                then 'high spenders'
            else 'low spenders'
        end as spending_segment
    from {{ ref('int_score_customers') }}
    where
        is_scored
        and step > 0

),

-- Scores that differ by less than a hundredth in log odds count as equal, and are in the same bin.
grouped as (

    select
        scored_pairs.source_name,
        customers.tenure_segment,
        customers.spending_segment,
        round(scored_pairs.score, 2) as score,
        count(*) as pair_count,
        sum(scored_pairs.likelihood) as predicted_count,
        sum(scored_pairs.adopted) as adopted_count
    from scored_pairs
    inner join customers
        on
            scored_pairs.step = customers.step
            and scored_pairs.customer_number = customers.customer_number
    group by
        scored_pairs.source_name,
        customers.tenure_segment,
        customers.spending_segment,
        round(scored_pairs.score, 2)

),

segmented as (

    {%- for kind, segment in kinds.items() %}
        select
            source_name,
            '{{ kind }}' as segment_kind,
            {{ segment }} as segment,
            score,
            sum(pair_count) as pair_count,
            sum(predicted_count) as predicted_count,
            sum(adopted_count) as adopted_count
        from grouped
        group by
            source_name,
            {{ segment }},
            score
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

-- All bins hold the same number of predicted purchases, so that the many very unlikely pairs fill only one of them.
placed as (

    select
        *,
        (
            sum(predicted_count) over (
                partition by source_name, segment_kind, segment
                order by score
                rows between unbounded preceding and current row
            ) - predicted_count / 2
        ) / sum(predicted_count) over (partition by source_name, segment_kind, segment) as share_below
    from segmented

),

binned as (

    select
        source_name,
        segment_kind,
        segment,
        1 + cast(floor({{ calibration_bins() }} * least(share_below, 0.999999)) as {{ dbt.type_int() }}) as bin,
        sum(pair_count) as pair_count,
        sum(predicted_count) as predicted_count,
        sum(adopted_count) as adopted_count
    from placed
    group by
        source_name,
        segment_kind,
        segment,
        1 + cast(floor({{ calibration_bins() }} * least(share_below, 0.999999)) as {{ dbt.type_int() }})

)

-- Sums of fractions differ in their last digits from build to build: these are rounded to digits that do not.
select
    source_name,
    segment_kind,
    segment,
    cast(bin as bigint) as bin,
    cast(pair_count as bigint) as pair_count,
    cast(adopted_count as bigint) as adopted_count,
    round(predicted_count, 6) as predicted_count,
    round(predicted_count / pair_count, 9) as predicted_rate,
    cast(adopted_count as double) / pair_count as observed_rate,
    round(predicted_count / nullif(adopted_count, 0), 9) as predicted_over_observed
from binned
