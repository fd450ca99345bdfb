{#- The trend compares this many days at the end of the window with the days before them. -#}
{% set recent_days = 7 -%}
{#- It is a trend when the failures grow or shrink by more than this share of the error budget. -#}
{% set notable_share_of_budget = 0.1 -%}
{% set seconds_ago = dbt.datediff('results.run_started_at', 'objectives.started_at', 'second') | trim -%}
with

ranked as (

    select
        run_id,
        run_number,
        started_at,
        row_number() over (order by run_number desc) as position_from_the_end
    from {{ source('history', 'runs') }}

),

-- The run that was recorded last, even when its clock was wrong.
newest as (

    select * from ranked
    where position_from_the_end = 1

),

objectives as (

    select
        objectives.objective,
        objectives.description,
        objectives.category,
        objectives.owner,
        objectives.unit,
        objectives.target,
        objectives.warn_below,
        objectives.breach_below,
        objectives.blocks,
        objectives.window_days,
        objectives.status as judged_status,
        objectives.run_id,
        newest.run_number,
        newest.started_at
    from {{ source('history', 'objectives') }} as objectives
    inner join newest
        on objectives.run_id = newest.run_id

),

-- A run dated after the newest one was dated by a wrong clock.
results as (

    select
        objectives.objective,
        objectives.unit,
        results.run_id,
        results.status,
        results.run_id = objectives.run_id as is_newest,
        {{ seconds_ago }} < {{ recent_days }} * 86400 as is_recent,
        coalesce(results.rows_read, 1) as rows_read,
        case
            when results.status = 'pass' then coalesce(results.rows_failed, 0)
            else greatest(coalesce(results.rows_failed, 1), 1)
        end as rows_failed
    from objectives
    inner join {{ ref('check_results') }} as results
        on
            objectives.objective = results.objective
            and objectives.started_at >= results.run_started_at
            and objectives.window_days * 86400 > {{ seconds_ago }}

),

counted as (

    select
        objective,
        run_id,
        status,
        is_newest,
        is_recent,
        -- An empty table that must not be empty has more failures than rows.
        case when unit = 'rows' then greatest(rows_read, rows_failed) else 1 end as counted,
        case
            when unit = 'rows' then rows_failed
            when status = 'pass' then 0
            else 1
        end as failed
    from results

),

summed as (

    select
        objective,
        count(distinct run_id) as window_runs,
        sum(case when is_newest then 1 else 0 end) as checks_in_run,
        sum(case when is_newest and status = 'warn' then 1 else 0 end) as checks_warned_in_run,
        -- A run is as good as the worst of its checks, so that a small shop or table cannot hide behind a larger one.
        max(case when is_newest then 1.0 * failed / nullif(counted, 0) end) as failed_at_worst,
        1.0 * sum(case when is_newest then failed end) / nullif(sum(case when is_newest then counted end), 0)
            as failed_in_run,
        1.0 * sum(failed) / nullif(sum(counted), 0) as failed_in_window,
        1.0 * sum(case when is_recent then failed end) / nullif(sum(case when is_recent then counted end), 0)
            as failed_recently,
        1.0 * sum(case when not is_recent then failed end) / nullif(sum(case when not is_recent then counted end), 0)
            as failed_before
    from counted
    group by objective

),

-- The status of each objective in each run that measured it.
standings as (

    select
        objectives.objective,
        runs.run_number,
        runs.started_at,
        row_number() over (
            partition by objectives.objective
            order by runs.run_number desc
        ) as position_from_the_end,
        case
            when max(promised.status) in ('warning', 'breach') then max(promised.status)
            when max(case when results.status = 'warn' then 1 else 0 end) = 1 then 'warning'
            else 'met'
        end as status
    from objectives
    inner join {{ ref('check_results') }} as results
        on objectives.objective = results.objective
    inner join ranked as runs
        on results.run_id = runs.run_id
    left join {{ source('history', 'objectives') }} as promised
        on
            results.run_id = promised.run_id
            and results.objective = promised.objective
    -- A check that passed on no rows measured nothing.
    where
        objectives.unit = 'checks'
        or coalesce(results.rows_read, 1) > 0
        or coalesce(results.rows_failed, 0) > 0
        or results.status <> 'pass'
    group by
        objectives.objective,
        runs.run_number,
        runs.started_at

),

measured as (

    select
        objectives.*,
        summed.window_runs,
        summed.checks_in_run,
        summed.failed_recently,
        summed.failed_before,
        cast(100 * (1 - summed.failed_in_run) as double) as attained_in_run,
        case objectives.unit
            when 'rows' then cast(100 * (1 - summed.failed_at_worst) as double)
            else cast(100 * (1 - summed.failed_in_run) as double)
        end as lowest_in_run,
        cast(100 * (1 - summed.failed_in_window) as double) as attained,
        1 - objectives.target / 100 as budget,
        summed.failed_in_window,
        summed.checks_warned_in_run,
        standings.status as last_status,
        standings.run_number as last_measured_run_number,
        standings.started_at as last_measured_at
    from objectives
    left join summed
        on objectives.objective = summed.objective
    left join standings
        on
            objectives.objective = standings.objective
            and standings.position_from_the_end = 1

)

select
    objective,
    description,
    category,
    owner,
    unit,
    target,
    warn_below,
    breach_below,
    blocks,
    run_id,
    run_number,
    started_at as run_started_at,
    cast(coalesce(checks_in_run, 0) as bigint) as checks_in_run,
    round(attained_in_run, 9) as attained_in_run,
    round(lowest_in_run, 9) as lowest_in_run,
    case
        when attained_in_run is null then 'not measured'
        -- The run was judged when it was recorded, by its own checks (quality/verdict.py).
        when judged_status in ('warning', 'breach') then judged_status
        -- How it compares with earlier runs is known only now, and is at most a warning.
        when checks_warned_in_run > 0 then 'warning'
        else 'met'
    end as status,
    last_status,
    last_measured_run_number,
    last_measured_at,
    window_days,
    cast(coalesce(window_runs, 0) as bigint) as window_runs,
    round(attained, 9) as attained,
    round(cast(
        case
            when attained is null then null
            -- Where 100 per cent is promised there is no budget: any failure spends it.
            when budget <= 0 then case when failed_in_window > 0 then 0 else 1 end
            else 1 - failed_in_window / budget
        end as double
    ), 6) as error_budget_left,
    case
        when failed_recently is null or failed_before is null then 'too little history'
        when failed_recently - failed_before > {{ notable_share_of_budget }} * budget then 'worsening'
        when failed_before - failed_recently > {{ notable_share_of_budget }} * budget then 'improving'
        else 'steady'
    end as trend
from measured
