{#- A step is compared with this many runs before it, if there are at least minimum_runs. -#}
{% set runs_before = 30 -%}
{% set minimum_runs = 5 -%}
with

steps as (

    select
        steps.run_id,
        runs.run_number,
        runs.started_at as run_started_at,
        runs.job,
        steps.step,
        steps.seconds,
        steps.row_count,
        steps.succeeded,
        row_number() over (
            partition by
                runs.job,
                steps.step
            order by runs.run_number
        ) as position
    from {{ source('history', 'steps') }} as steps
    inner join {{ source('history', 'runs') }} as runs
        on steps.run_id = runs.run_id

),

-- A step is not compared with itself, with one that failed, or with one of another job: a run of a single model says
-- nothing about a whole night.
earlier_values as (

    select
        steps.run_id,
        steps.step,
        earlier.seconds
    from steps
    inner join steps as earlier
        on
            steps.step = earlier.step
            and steps.job = earlier.job
            and steps.position - {{ runs_before }} <= earlier.position
            and steps.position > earlier.position
            and earlier.succeeded

),

{{ baseline_of_earlier_values(['run_id', 'step'], 'seconds') }},

compared as (

    select
        steps.*,
        coalesce(baseline.earlier_count, 0) as earlier_runs,
        baseline.expected_value as expected_seconds,
        -- Twice as long, five seconds longer, and more than six standard deviations longer; one is estimated as 1.4826
        -- median absolute deviations.
        case
            when baseline.earlier_count >= {{ minimum_runs }} then greatest(
                2 * baseline.expected_value,
                baseline.expected_value + 5,
                baseline.expected_value + 6 * 1.4826 * baseline.median_absolute_deviation
            )
        end as limit_seconds
    from steps
    left join baseline
        on
            steps.run_id = baseline.run_id
            and steps.step = baseline.step

)

select
    run_id,
    run_number,
    run_started_at,
    job,
    step,
    seconds,
    row_count,
    succeeded,
    cast(earlier_runs as bigint) as earlier_runs,
    cast(expected_seconds as double) as expected_seconds,
    cast(limit_seconds as double) as limit_seconds,
    coalesce(seconds > limit_seconds, false) as is_far_longer
from compared
