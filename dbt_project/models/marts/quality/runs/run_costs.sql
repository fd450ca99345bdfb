select
    {{ dbt.concat(['steps.run_id', "':'", 'steps.step']) }} as run_step_key,
    steps.run_id,
    runs.run_number,
    runs.started_at as run_started_at,
    runs.job,
    steps.step,
    case when left(steps.step, 5) = 'load_' then substring(steps.step, 6) end as source_name,
    left(steps.step, 6) = 'model.' as is_model,
    steps.seconds,
    steps.cpu_seconds,
    steps.row_count,
    steps.loaded_bytes
from {{ source('history', 'steps') }} as steps
inner join {{ source('history', 'runs') }} as runs
    on steps.run_id = runs.run_id
