{%- set methods = {'score': 'score', 'adoption rate': 'adoption_rate', 'popularity': 'popularity'} -%}
with

scored_pairs as (

    select * from {{ ref('int_scores') }}
    where step > 0

),

-- Equal scores share their rank; scores that differ by less than a thousandth in log odds count as equal.
grouped as (

    {%- for method, column in methods.items() %}
        select
            '{{ method }}' as method,
            source_name,
            step,
            round({{ column }}, {{ 3 if method == 'score' else 9 }}) as value,
            cast(sum(adopted) as double) as adopted,
            cast(sum(1 - adopted) as double) as not_adopted
        from scored_pairs
        group by
            source_name,
            step,
            round({{ column }}, {{ 3 if method == 'score' else 9 }})
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

ranked_values as (

    select
        *,
        sum(not_adopted) over (
            partition by method, source_name, step
            order by value
            rows between unbounded preceding and current row
        ) - not_adopted / 2 as not_adopted_below
    from grouped

),

-- How often an adopted pair was scored above one that was not adopted (Mann and Whitney 1947).
areas as (

    select
        method,
        source_name,
        step,
        sum(adopted * not_adopted_below) / nullif(sum(adopted) * sum(not_adopted), 0) as auc
    from ranked_values
    group by
        method,
        source_name,
        step

),

adopters as (

    select
        step,
        customer_number,
        sum(adopted) as adopted_count
    from scored_pairs
    group by
        step,
        customer_number
    having sum(adopted) > 0

),

ranked as (

    {%- for method, column in methods.items() %}
        select
            '{{ method }}' as method,
            scored_pairs.source_name,
            scored_pairs.step,
            scored_pairs.customer_number,
            scored_pairs.adopted,
            adopters.adopted_count,
            row_number() over (
                partition by scored_pairs.step, scored_pairs.customer_number
                order by round(scored_pairs.{{ column }}, 9) desc, scored_pairs.category_number asc
            ) as position
        from scored_pairs
        inner join adopters
            on
                scored_pairs.step = adopters.step
                and scored_pairs.customer_number = adopters.customer_number
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

-- The gain of a hit at each position, and the largest possible gain of a list (Järvelin and Kekäläinen 2002).
gains as (

    {%- for position in range(1, var('score_backtest_k') + 1) %}
        select
            {{ position }} as position,
            1 / (ln({{ position + 1 }}) / ln(2)) as gain
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}

),

best_gains as (

    select
        position,
        sum(gain) over (order by position rows between unbounded preceding and current row) as gain
    from gains

),

customers as (

    select
        ranked.method,
        ranked.source_name,
        ranked.step,
        ranked.customer_number,
        least(max(ranked.adopted_count), {{ var('score_backtest_k') }}) as best_hit_count,
        sum(ranked.adopted) as hit_count,
        sum(ranked.adopted * gains.gain) as gain
    from ranked
    inner join gains
        on ranked.position = gains.position
    group by
        ranked.method,
        ranked.source_name,
        ranked.step,
        ranked.customer_number

),

list_metrics as (

    select
        customers.method,
        customers.source_name,
        customers.step,
        count(*) as customer_count,
        avg(cast(customers.hit_count as double) / customers.best_hit_count) as recall_at_k,
        avg(cast(customers.hit_count as double) / {{ var('score_backtest_k') }}) as precision_at_k,
        avg(customers.gain / best_gains.gain) as ndcg_at_k
    from customers
    inner join best_gains
        on customers.best_hit_count = best_gains.position
    group by
        customers.method,
        customers.source_name,
        customers.step

),

totals as (

    select
        source_name,
        step,
        count(*) as pair_count,
        sum(adopted) as adopted_count,
        avg(cast(adopted as double)) as base_rate,
        sum(likelihood) as score_predicted,
        sum(likelihood_low) as score_predicted_low,
        sum(likelihood_high) as score_predicted_high,
        sum(adoption_rate) as rate_predicted,
        -avg(ln(case when adopted = 1 then likelihood else 1 - likelihood end)) as score_log_loss,
        -avg(ln(case when adopted = 1 then adoption_rate else 1 - adoption_rate end)) as rate_log_loss,
        -- All pairs of a date have one basis, but for those of new categories.
        max(case when score_basis <> 'category too new' then score_basis end) as score_basis
    from scored_pairs
    group by
        source_name,
        step

),

pair_metrics as (

    select
        areas.method,
        areas.auc,
        totals.*,
        case areas.method
            when 'score' then totals.score_predicted
            when 'adoption rate' then totals.rate_predicted
        end as predicted_count,
        case areas.method
            when 'score' then totals.score_log_loss
            when 'adoption rate' then totals.rate_log_loss
        end as log_loss
    from areas
    inner join totals
        on
            areas.source_name = totals.source_name
            and areas.step = totals.step

)

-- Sums of fractions differ in their last digits from build to build: these are rounded to digits that do not.
select
    pair_metrics.source_name,
    dates.as_of_date,
    cast({{ dbt.dateadd('day', var('score_horizon_days'), 'dates.as_of_date') }} as date) as horizon_end_date,
    pair_metrics.method,
    coalesce(pair_metrics.score_basis, 'category too new') as score_basis,
    cast(pair_metrics.pair_count as bigint) as pair_count,
    cast(pair_metrics.adopted_count as bigint) as adopted_count,
    round(pair_metrics.base_rate, 9) as base_rate,
    round(pair_metrics.auc, 9) as auc,
    cast({{ var('score_backtest_k') }} as bigint) as k,
    cast(coalesce(list_metrics.customer_count, 0) as bigint) as customer_count,
    round(list_metrics.recall_at_k, 9) as recall_at_k,
    round(list_metrics.precision_at_k, 9) as precision_at_k,
    round(list_metrics.ndcg_at_k, 9) as ndcg_at_k,
    round(pair_metrics.log_loss, 9) as log_loss,
    case
        when pair_metrics.base_rate > 0 and pair_metrics.base_rate < 1
            then
                round(
                    -pair_metrics.base_rate * ln(pair_metrics.base_rate)
                    - (1 - pair_metrics.base_rate) * ln(1 - pair_metrics.base_rate),
                    9
                )
    end as log_loss_of_base_rate,
    round(pair_metrics.predicted_count, 6) as predicted_count,
    round(pair_metrics.predicted_count / nullif(pair_metrics.adopted_count, 0), 9) as predicted_over_observed,
    case when pair_metrics.method = 'score' then round(pair_metrics.score_predicted_low, 6) end as predicted_count_low,
    case when pair_metrics.method = 'score' then round(pair_metrics.score_predicted_high, 6) end as predicted_count_high
from pair_metrics
inner join {{ ref('int_score_dates') }} as dates
    on
        pair_metrics.source_name = dates.source_name
        and pair_metrics.step = dates.step
left join list_metrics
    on
        pair_metrics.method = list_metrics.method
        and pair_metrics.source_name = list_metrics.source_name
        and pair_metrics.step = list_metrics.step
