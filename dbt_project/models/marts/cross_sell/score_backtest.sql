{%- set methods = {'score': 'score', 'adoption rate': 'adoption_rate', 'popularity': 'popularity'} -%}
with

judged as (

    select * from {{ ref('int_scores') }}
    where step > 0

),

-- Equal scores share their rank; a thousandth of a log odds is near enough to equal.
grouped as (

    {%- for method, column in methods.items() %}
        select
            '{{ method }}' as method,
            source_name,
            step,
            round({{ column }}, {{ 3 if method == 'score' else 9 }}) as value,
            cast(sum(adopted) as double) as adopted,
            cast(sum(1 - adopted) as double) as not_adopted
        from judged
        group by
            source_name,
            step,
            round({{ column }}, {{ 3 if method == 'score' else 9 }})
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

below as (

    select
        *,
        sum(not_adopted) over (
            partition by method, source_name, step
            order by value
            rows between unbounded preceding and current row
        ) - not_adopted / 2 as not_adopted_below
    from grouped

),

-- How often a pair that came true was scored above one that did not (Mann and Whitney 1947).
separated as (

    select
        method,
        source_name,
        step,
        sum(adopted * not_adopted_below) / nullif(sum(adopted) * sum(not_adopted), 0) as auc
    from below
    group by
        method,
        source_name,
        step

),

wanting as (

    select
        step,
        customer_number,
        sum(adopted) as adopted_count
    from judged
    group by
        step,
        customer_number
    having sum(adopted) > 0

),

ranked as (

    {%- for method, column in methods.items() %}
        select
            '{{ method }}' as method,
            judged.source_name,
            judged.step,
            judged.customer_number,
            judged.adopted,
            wanting.adopted_count,
            row_number() over (
                partition by judged.step, judged.customer_number
                order by round(judged.{{ column }}, 9) desc, judged.category_number asc
            ) as position
        from judged
        inner join wanting
            on
                judged.step = wanting.step
                and judged.customer_number = wanting.customer_number
        {%- if not loop.last %}

            union all
        {%- endif %}
    {%- endfor %}

),

-- The gain of a hit at each position, and the best that a customer's list could gain (Järvelin and Kekäläinen 2002).
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

best as (

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
        least(max(ranked.adopted_count), {{ var('score_backtest_k') }}) as wanted_count,
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

listed as (

    select
        customers.method,
        customers.source_name,
        customers.step,
        count(*) as customer_count,
        avg(cast(customers.hit_count as double) / customers.wanted_count) as recall_at_k,
        avg(cast(customers.hit_count as double) / {{ var('score_backtest_k') }}) as precision_at_k,
        avg(customers.gain / best.gain) as ndcg_at_k
    from customers
    inner join best
        on customers.wanted_count = best.position
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
        sum(adoption_rate) as rate_predicted,
        -avg(ln(case when adopted = 1 then likelihood else 1 - likelihood end)) as score_log_loss,
        -avg(ln(case when adopted = 1 then adoption_rate else 1 - adoption_rate end)) as rate_log_loss,
        max(case when score_basis = 'learned' then 1 else 0 end) as is_learned,
        max(case when score_basis = 'no signal' then 1 else 0 end) as is_without_signal
    from judged
    group by
        source_name,
        step

),

predicted as (

    select
        separated.method,
        separated.auc,
        totals.*,
        case separated.method
            when 'score' then totals.score_predicted
            when 'adoption rate' then totals.rate_predicted
        end as predicted_count,
        case separated.method
            when 'score' then totals.score_log_loss
            when 'adoption rate' then totals.rate_log_loss
        end as log_loss
    from separated
    inner join totals
        on
            separated.source_name = totals.source_name
            and separated.step = totals.step

)

-- Sums of fractions differ in their last digits from build to build: these are rounded to digits that do not.
select
    predicted.source_name,
    dates.as_of_date,
    cast({{ dbt.dateadd('day', var('score_horizon_days'), 'dates.as_of_date') }} as date) as horizon_end_date,
    predicted.method,
    case
        when predicted.is_learned = 1 then 'learned'
        when predicted.is_without_signal = 1 then 'no signal'
        else 'too little history'
    end as score_basis,
    cast(predicted.pair_count as bigint) as pair_count,
    cast(predicted.adopted_count as bigint) as adopted_count,
    round(predicted.base_rate, 9) as base_rate,
    round(predicted.auc, 9) as auc,
    cast({{ var('score_backtest_k') }} as bigint) as k,
    cast(coalesce(listed.customer_count, 0) as bigint) as customer_count,
    round(listed.recall_at_k, 9) as recall_at_k,
    round(listed.precision_at_k, 9) as precision_at_k,
    round(listed.ndcg_at_k, 9) as ndcg_at_k,
    round(predicted.log_loss, 9) as log_loss,
    case
        when predicted.base_rate > 0 and predicted.base_rate < 1
            then
                round(
                    -predicted.base_rate * ln(predicted.base_rate)
                    - (1 - predicted.base_rate) * ln(1 - predicted.base_rate),
                    9
                )
    end as log_loss_of_base_rate,
    round(predicted.predicted_count, 6) as predicted_count,
    round(predicted.predicted_count / nullif(predicted.adopted_count, 0), 9) as predicted_over_observed
from predicted
inner join {{ ref('int_score_dates') }} as dates
    on
        predicted.source_name = dates.source_name
        and predicted.step = dates.step
left join listed
    on
        predicted.method = listed.method
        and predicted.source_name = listed.source_name
        and predicted.step = listed.step
