with

runs as (

    select * from {{ source('history', 'runs') }}

),

recorded as (

    select
        run_id,
        check_name,
        category,
        objective,
        table_name,
        checked_at,
        status,
        rows_read,
        rows_failed,
        description
    from {{ source('history', 'checks') }}

),

-- Runs are compared with earlier ones here, from the whole history; these checks warn and never block.
deliveries as (

    select
        run_id,
        'delivery_is_not_far_smaller_than_usual' as check_name,
        'raw_' || source_name || '.' || table_name as table_name,
        count(*) as rows_read,
        sum(case when is_far_smaller then 1 else 0 end) as rows_failed,
        min(
            case
                when is_far_smaller
                    then
                        delivery || ' has ' || {{ grouped_digits('row_count') }} || ' rows, about '
                        || {{ grouped_digits('round(expected_row_count)') }} || ' expected'
            end
        ) as description
    from {{ ref('load_metrics') }}
    where is_in_time
    group by
        run_id,
        source_name,
        table_name

),

steps as (

    select
        run_id,
        'step_takes_not_far_longer_than_usual' as check_name,
        'runs' as table_name,
        count(*) as rows_read,
        sum(case when is_far_longer then 1 else 0 end) as rows_failed,
        min(
            case
                when is_far_longer
                    then
                        step || ' took ' || cast(round(seconds, 1) as {{ dbt.type_string() }}) || ' s, about '
                        || cast(round(expected_seconds, 1) as {{ dbt.type_string() }}) || ' s expected'
            end
        ) as description
    from {{ ref('run_metrics') }}
    group by run_id

),

compared as (

    select * from deliveries
    union all
    select * from steps

),

results as (

    select * from recorded

    union all

    select
        compared.run_id,
        compared.check_name,
        measures.category,
        measures.objective,
        compared.table_name,
        coalesce(runs.ended_at, runs.started_at) as checked_at,
        case when compared.rows_failed > 0 then 'warn' else 'pass' end as status,
        compared.rows_read,
        compared.rows_failed,
        compared.description || case
            when compared.rows_failed > 1
                then ', and ' || cast(compared.rows_failed - 1 as {{ dbt.type_string() }}) || ' more'
            else ''
        end as description
    from compared
    inner join runs
        on compared.run_id = runs.run_id
    left join {{ source('history', 'measures') }} as measures
        on
            compared.run_id = measures.run_id
            and compared.check_name = measures.check_name

)

select
    results.run_id,
    runs.run_number,
    runs.started_at as run_started_at,
    results.check_name,
    results.category,
    results.objective,
    results.table_name,
    results.checked_at,
    results.status,
    cast(results.rows_read as bigint) as rows_read,
    cast(results.rows_failed as bigint) as rows_failed,
    results.description
from results
inner join runs
    on results.run_id = runs.run_id
