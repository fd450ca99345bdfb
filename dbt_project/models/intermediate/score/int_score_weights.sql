{%- set features = score_features().keys() | list -%}
with

fitted as (

    {{ last_round(ref('int_score_feature_weights'), ['intercept'] + features) }}

),

centres as (

    select distinct
        source_name,
        step,
        centre
    from {{ ref('int_score_raw_scores') }}

),

score_shifts as (

    {{ last_round(ref('int_score_score_shift'), ['shift']) }}

),

rate_shifts as (

    {{ last_round(ref('int_score_rate_shift'), ['shift']) }}

),

windows as (

    select * from {{ ref('int_score_windows') }}

),

-- The active customers, compared with those at the dates that are learned from.
growth as (

    select
        windows.source_name,
        windows.step,
        ln(windows.active_count / avg(cast(earlier.active_count as double))) as log_customer_growth
    from windows
    inner join windows as earlier
        on
            windows.source_name = earlier.source_name
            and {{ is_within('earlier.step', 'windows.step', score_learning_windows()) }}
    group by
        windows.source_name,
        windows.step,
        windows.active_count

),

-- What the newest window brought, compared with the forecast of it. Counts vary by chance, too.
misses as (

    select
        level.source_name,
        level.step - 1 as step,
        ln((windows.adoption_count + 0.5) / (level.expected_count + 0.5)) as log_miss,
        {{ z_of_95_percent() }} / sqrt(windows.adoption_count + 0.5) as log_chance
    from {{ ref('int_score_level') }} as level
    inner join windows
        on
            level.source_name = windows.source_name
            and level.step = windows.step
    where windows.adoption_count is not null

),

based as (

    select
        level.source_name,
        level.step,
        growth.log_customer_growth,
        misses.log_miss,
        case
            when trusted.trust is null then 'too little history'
            when trusted.unknown_share > {{ score_maximum_share_unknown() }} then 'assortment changed'
            when trusted.trust = 0 then 'no signal'
            when abs(growth.log_customer_growth) > ln({{ score_notable_growth() }}) then 'customers changed'
            when abs(misses.log_miss) > ln({{ score_notable_miss() }}) + misses.log_chance then 'level changed'
            else 'learned'
        end as score_basis
    from {{ ref('int_score_level') }} as level
    left join {{ ref('int_score_trusted') }} as trusted
        on
            level.source_name = trusted.source_name
            and level.step = trusted.step
    left join growth
        on
            level.source_name = growth.source_name
            and level.step = growth.step
    left join misses
        on
            level.source_name = misses.source_name
            and level.step = misses.step

)

-- Sums of fractions differ in their last digits from build to build; these do not.
select
    level.source_name,
    level.step,
    coalesce(trusted.trust, 0) as trust,
    coalesce(trusted.unknown_share, 0) as unknown_share,
    trusted.deviance_explained,
    coalesce(trusted.adoption_count, 0) as adoption_count,
    coalesce(trusted.row_count, 0) as row_count,
    based.score_basis,
    based.score_basis in ('learned', 'customers changed', 'level changed') as is_learned,
    round(exp(based.log_customer_growth), 6) as customer_growth,
    round(exp(based.log_miss), 6) as newest_over_expected,
    level.expected_count,
    level.log_error,
    round(rate_shifts.shift, 6) as rate_shift,
    round(score_shifts.shift, 6) as score_shift,
    round(fitted.intercept, 6) as intercept,
    {%- for feature in features %}
        round(fitted.{{ feature }}, 6) as {{ feature }},
    {%- endfor %}
    centres.centre
from {{ ref('int_score_level') }} as level
inner join based
    on
        level.source_name = based.source_name
        and level.step = based.step
left join {{ ref('int_score_trusted') }} as trusted
    on
        level.source_name = trusted.source_name
        and level.step = trusted.step
left join fitted
    on
        level.source_name = fitted.source_name
        and level.step = fitted.step
left join centres
    on
        level.source_name = centres.source_name
        and level.step = centres.step
left join score_shifts
    on
        level.source_name = score_shifts.source_name
        and level.step = score_shifts.step
left join rate_shifts
    on
        level.source_name = rate_shifts.source_name
        and level.step = rate_shifts.step
where level.step <= {{ score_last_scored_step() }}
