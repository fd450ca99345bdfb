{%- set features = score_features().keys() | list -%}
{%- set calibration = weighted_sum('calibrated', 'shift', 'raw_scores', score_calibration_columns()) -%}
with

raw_scores as (

    select * from {{ ref('int_score_raw_scores') }}

),

fitted as (

    {{ last_round(ref('int_score_feature_weights'), ['intercept'] + features) }}

),

levels as (

    {{ last_round(ref('int_score_level'), ['level']) }}

),

calibrated as (

    {{ last_round(ref('int_score_bend'), ['shift', 'stretch', 'bend']) }}

),

explained as (

    select
        raw_scores.source_name,
        raw_scores.step,
        raw_scores.adopted,
        raw_scores.weight,
        raw_scores.centre,
        {{ likelihood('raw_scores.base + ' ~ calibration) }} as likelihood,
        {{ likelihood('raw_scores.rate_log_odds + levels.level') }} as level_likelihood
    from raw_scores
    inner join calibrated
        on
            raw_scores.source_name = calibrated.source_name
            and raw_scores.step = calibrated.step
    inner join levels
        on
            raw_scores.source_name = levels.source_name
            and raw_scores.step = levels.step

),

evaluated as (

    select
        source_name,
        step,
        min(centre) as centre,
        sum(adopted) as adoption_count,
        count(*) as row_count,
        2 * sum(weight * case
            when adopted = 1 then ln(likelihood / level_likelihood)
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
    evaluated.deviance_explained > {{ score_deviance_per_feature() }} * {{ features | length }} as has_signal,
    round(evaluated.deviance_explained, 6) as deviance_explained,
    cast(evaluated.adoption_count as bigint) as adoption_count,
    evaluated.row_count,
    round(levels.level, 6) as level,
    round(fitted.intercept, 6) as intercept,
    {%- for feature in features %}
        round(fitted.{{ feature }}, 6) as {{ feature }},
    {%- endfor %}
    round(evaluated.centre, 6) as centre,
    round(calibrated.shift, 6) as shift,
    round(calibrated.stretch, 6) as stretch,
    round(calibrated.bend, 6) as bend
from fitted
inner join calibrated
    on
        fitted.source_name = calibrated.source_name
        and fitted.step = calibrated.step
inner join levels
    on
        fitted.source_name = levels.source_name
        and fitted.step = levels.step
inner join evaluated
    on
        fitted.source_name = evaluated.source_name
        and fitted.step = evaluated.step
where evaluated.adoption_count >= {{ score_minimum_adoptions() }}
