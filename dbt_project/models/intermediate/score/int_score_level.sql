-- How many adoptions the window after each date will bring: the adoptions of the past windows, as a share of what was
-- possible, are smoothed and continued, with a damped trend and the season of last year. In markets of linked shops,
-- the scores are added up.
with

windows as (

    select
        *,
        -- Where part of the customers did not come lately, fewer adoptions follow.
        candidate_count * sqrt(greatest(recent_count, 1) * 1.0 / active_count) as possible_count
    from {{ ref('int_score_windows') }}

),

rated as (

    select
        *,
        ln((adoption_count + 0.5) / (possible_count + 0.5)) as log_rate
    from windows

),

-- What chance adds to the log of a count, as a variance: the inverse of the count.
noise as (

    select
        windows.source_name,
        windows.step,
        count(*) / (sum(earlier.adoption_count) + 1.0) as variance
    from windows
    inner join windows as earlier
        on
            windows.source_name = earlier.source_name
            and {{ is_within('earlier.step', 'windows.step', level_windows()) }}
    group by
        windows.source_name,
        windows.step

),

-- The weight of a window, compared with the one after it: a level that moves by a known variance is best followed by
-- exponential smoothing, the more slowly the more of what is seen is chance (the steady state of the
-- local level model; Harvey 1989).
factors as (

    select
        source_name,
        step,
        variance / (
            variance + {{ level_movement() }} / 2
            + sqrt({{ level_movement() }} * {{ level_movement() }} / 4 + {{ level_movement() }} * variance)
        ) as factor
    from noise

),

smoothed as (

    select
        factors.source_name,
        factors.step,
        sum(power(factors.factor, earlier.step - factors.step - 1) * earlier.log_rate)
        / sum(power(factors.factor, earlier.step - factors.step - 1)) as log_rate
    from factors
    inner join rated as earlier
        on
            factors.source_name = earlier.source_name
            and {{ is_within('earlier.step', 'factors.step', level_windows()) }}
    group by
        factors.source_name,
        factors.step

),

changes as (

    select
        rated.source_name,
        rated.step,
        rated.adoption_count,
        rated.log_rate - earlier.log_rate as change
    from rated
    inner join rated as earlier
        on
            rated.source_name = earlier.source_name
            and rated.step + 1 = earlier.step

),

-- A part of the mean change from window to window is continued (a damped trend; Gardner and McKenzie 1985): as a shop's
-- customers own more, they begin less.
trends as (

    select
        windows.source_name,
        windows.step,
        {{ level_trend_share() }} * avg(changes.change)
        * avg(changes.adoption_count) / (avg(changes.adoption_count) + {{ level_trend_prior_adoptions() }}) as trend
    from windows
    inner join changes
        on
            windows.source_name = changes.source_name
            and {{ is_within('changes.step', 'windows.step', level_windows()) }}
    group by
        windows.source_name,
        windows.step

),

-- What the same weeks a year ago brought, compared with the windows before them.
seasons as (

    select
        rated.source_name,
        rated.step - {{ level_year_steps() }} as step,
        {{ level_season_share() }} * (rated.log_rate - smoothed.log_rate)
        * rated.adoption_count / (rated.adoption_count + {{ level_season_prior_adoptions() }}) as season
    from rated
    inner join smoothed
        on
            rated.source_name = smoothed.source_name
            and rated.step = smoothed.step

),

predicted as (

    select
        source_name,
        step,
        coalesce(
            sum(case when method = 'score' then weight * {{ likelihood('score') }} end),
            sum(case when method = 'adoption rate' then weight * {{ likelihood('score') }} end)
        ) as score_count,
        sum(case when method = 'adoption rate' then weight end) as pair_count
    from {{ ref('int_score_bins') }}
    group by
        source_name,
        step

),

dates as (

    select
        source_name,
        step
    from windows

    union distinct

    select
        source_name,
        step
    from predicted

),

forecasts as (

    select
        dates.source_name,
        dates.step,
        windows.adoption_count,
        coalesce(trends.trend, 0) as trend,
        coalesce(seasons.season, 0) as season,
        -- No more than half of what is possible.
        case
            when windows.step is null then ln(predicted.score_count)
            when smoothed.step is not null
                then
                    least(
                        ln(windows.possible_count + 0.5)
                        + smoothed.log_rate
                        + coalesce(trends.trend, 0)
                        + coalesce(seasons.season, 0),
                        ln(coalesce(predicted.pair_count, windows.candidate_count + 1) / 2.0)
                    )
        end as log_count
    from dates
    left join windows
        on
            dates.source_name = windows.source_name
            and dates.step = windows.step
    left join smoothed
        on
            dates.source_name = smoothed.source_name
            and dates.step = smoothed.step
    left join trends
        on
            dates.source_name = trends.source_name
            and dates.step = trends.step
    left join seasons
        on
            dates.source_name = seasons.source_name
            and dates.step = seasons.step
    left join predicted
        on
            dates.source_name = predicted.source_name
            and dates.step = predicted.step

),

misses as (

    select
        source_name,
        step,
        -- What is more than chance; the first windows of a shop, when all purchases are first ones, say little.
        power(least(abs(log_count - ln(adoption_count + 0.5)), {{ level_largest_error() }}), 2)
        - 1 / (exp(log_count) + 0.5) as variance
    from forecasts
    where
        adoption_count is not null
        and log_count is not null

),

tested as (

    select
        forecasts.source_name,
        forecasts.step,
        (
            coalesce(sum(power({{ level_error_factor() }}, misses.step - forecasts.step - 1) * misses.variance), 0)
            + {{ level_error_prior_windows() }} * {{ level_error_prior() }} * {{ level_error_prior() }}
        )
        / (
            coalesce(sum(power({{ level_error_factor() }}, misses.step - forecasts.step - 1)), 0)
            + {{ level_error_prior_windows() }}
        ) as variance
    from forecasts
    left join misses
        on
            forecasts.source_name = misses.source_name
            and {{ is_within('misses.step', 'forecasts.step', level_year_steps()) }}
    group by
        forecasts.source_name,
        forecasts.step

)

select
    forecasts.source_name,
    cast(forecasts.step as {{ dbt.type_int() }}) as step,
    round(forecasts.trend, 6) as trend,
    round(forecasts.season, 6) as season,
    round(exp(forecasts.log_count), 6) as expected_count,
    round(
        sqrt(
            greatest(tested.variance, {{ level_smallest_error() }} * {{ level_smallest_error() }})
            + power({{ level_error_of_unknown() }} * coalesce(trusted.unknown_share, 0), 2)
            + 1 / (exp(forecasts.log_count) + 0.5)
        ),
        6
    ) as log_error
from forecasts
inner join tested
    on
        forecasts.source_name = tested.source_name
        and forecasts.step = tested.step
left join {{ ref('int_score_trusted') }} as trusted
    on
        forecasts.source_name = trusted.source_name
        and forecasts.step = trusted.step
