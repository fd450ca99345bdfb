{%- set features = score_features() -%}
with

pairs as (

    select * from {{ ref('int_score_pairs') }}
    where step > 0

),

sizes as (

    select
        source_name,
        step,
        count(*) as pair_count
    from pairs
    group by
        source_name,
        step

),

-- Of many pairs that were not taken up one in sixteen is enough, and stands for sixteen: those whose customer and
-- category have hashes that begin with the same letter.
sampled as (

    select
        p.source_name,
        p.step,
        p.adopted as y,
        case when p.adopted = 1 or sizes.pair_count <= 100000 then 1 else 16 end as weight,
        {{ log_odds('k.adoption_rate') }} as base
        {%- for feature, expression in features.items() %},
        {{ expression }} as {{ feature }}
        {%- endfor %}
    from pairs as p
    inner join sizes
        on
            p.source_name = sizes.source_name
            and p.step = sizes.step
    inner join {{ ref('int_score_customers') }} as c
        on
            p.step = c.step
            and p.customer_number = c.customer_number
    inner join {{ ref('int_score_categories') }} as k
        on
            p.step = k.step
            and p.category_number = k.category_number
    where
        p.adopted = 1
        or sizes.pair_count <= 100000
        or c.hash_letter = k.hash_letter

),

-- What a date learns from: the windows that had ended by then. The newest counts three times as much as the one before.
learning as (

    select
        sampled.source_name,
        dates.step,
        sampled.y,
        sampled.weight * power(1.0 / 3, sampled.step - dates.step - 1) as weight,
        sampled.base
        {%- for feature in features %},
        sampled.{{ feature }}
        {%- endfor %}
    from {{ ref('int_score_dates') }} as dates
    inner join sampled
        on
            dates.source_name = sampled.source_name
            and sampled.step between dates.step + 1 and dates.step + {{ score_learning_windows() }}
    where dates.step <= {{ var('score_backtest_dates') }}

),

-- From here each as-of date has a regression of its own.
{{ logistic_regression('fitted', 'learning', features.keys() | list) }},

scored as (

    select
        x.source_name,
        x.step,
        x.y,
        x.weight,
        x.base as rate_log_odds,
        x.base + w.w0{{ weighted_sum(features.keys() | list, 'x.', 'w.w') }} as raw_score
    from learning as x
    inner join fitted as w
        on
            x.source_name = w.source_name
            and x.step = w.step

),

centred as (

    select
        *,
        sum(weight * raw_score) over (partition by source_name, step)
        / sum(weight) over (partition by source_name, step) as centre
    from scored

),

bent as (

    select
        source_name,
        step,
        centre,
        y,
        weight,
        rate_log_odds,
        raw_score as base,
        raw_score - centre as distance,
        (raw_score - centre) * (raw_score - centre) as squared_distance
    from centred

),

-- The line of log odds may bend: what stands out most comes true a little less often than it promises.
{{ logistic_regression('calibrated', 'bent', ['distance', 'squared_distance'], rounds=4) }},

-- The adoption rates with nothing but their level learned: what the features have to beat.
{{ logistic_regression('levelled', 'learning', [], rounds=4) }},

explained as (

    select
        x.source_name,
        x.step,
        x.y,
        x.weight,
        x.centre,
        {{ likelihood('x.base + c.w0 + c.w1 * x.distance + c.w2 * x.squared_distance') }} as likelihood,
        {{ likelihood('x.rate_log_odds + l.w0') }} as level_likelihood
    from bent as x
    inner join calibrated as c
        on
            x.source_name = c.source_name
            and x.step = c.step
    inner join levelled as l
        on
            x.source_name = l.source_name
            and x.step = l.step

),

judged as (

    select
        source_name,
        step,
        min(centre) as centre,
        sum(y) as adoption_count,
        count(*) as row_count,
        2 * sum(weight * case
            when y = 1 then ln(likelihood / level_likelihood)
            else ln((1 - likelihood) / (1 - level_likelihood))
        end) as deviance_explained
    from explained
    group by
        source_name,
        step

)

-- Sums of fractions differ in their last digits from build to build; these weights do not.
select
    fitted.source_name,
    fitted.step,
    -- Akaike's criterion: a feature that says nothing explains about one unit of deviance; two are asked of each.
    judged.deviance_explained > 2 * {{ features | length }} as has_signal,
    round(judged.deviance_explained, 6) as deviance_explained,
    cast(judged.adoption_count as bigint) as adoption_count,
    judged.row_count,
    round(levelled.w0, 6) as level,
    round(fitted.w0, 6) as intercept
    {%- for feature in features %},
    round(fitted.w{{ loop.index }}, 6) as {{ feature }}
    {%- endfor %},
    round(judged.centre, 6) as centre,
    round(calibrated.w0, 6) as shift,
    round(calibrated.w1, 6) as stretch,
    round(calibrated.w2, 6) as bend
from fitted
inner join calibrated
    on
        fitted.source_name = calibrated.source_name
        and fitted.step = calibrated.step
inner join levelled
    on
        fitted.source_name = levelled.source_name
        and fitted.step = levelled.step
inner join judged
    on
        fitted.source_name = judged.source_name
        and fitted.step = judged.step
-- Of fewer adoptions nothing is learned.
where judged.adoption_count >= 30
