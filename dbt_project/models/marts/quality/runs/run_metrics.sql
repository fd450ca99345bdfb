{#- A step is judged by so many runs before it, and not by fewer than the second number. -#}
{% set runs_before = 30 -%}
{% set fewest_runs = 5 -%}
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

-- The step itself is not among those that it is compared with, nor is one that broke off, nor one of another job: a run
-- of a single model says nothing of a whole night.
before as (

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

{{ usual_of_before(['run_id', 'step'], 'seconds') }},

judged as (

    select
        steps.*,
        coalesce(usual.earlier_count, 0) as earlier_runs,
        usual.usual_value as usual_seconds,
        -- Twice as long, five seconds longer, and beyond six deviations (1.4826 medians of the differences each).
        case
            when usual.earlier_count >= {{ fewest_runs }} then greatest(
                2 * usual.usual_value,
                usual.usual_value + 5,
                usual.usual_value + 6 * 1.4826 * usual.usual_difference
            )
        end as limit_seconds
    from steps
    left join usual
        on
            steps.run_id = usual.run_id
            and steps.step = usual.step

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
    cast(usual_seconds as double) as usual_seconds,
    cast(limit_seconds as double) as limit_seconds,
    coalesce(seconds > limit_seconds, false) as is_far_longer
from judged
