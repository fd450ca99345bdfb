with

-- The dates of all shops together: a day does not belong to a shop.
bounds as (

    select
        min(purchase_date) as first_date,
        max(purchase_date) as last_date
    from {{ ref('fct_purchases') }}

),

-- A hundred years from the first purchase; days after the newest purchase are removed below.
numbers as (

    {{ dbt.generate_series(36525) | indent(4) }}

),

days as (

    select
        cast(
            {{ dbt.dateadd('day', 'cast(numbers.generated_number as int) - 1', 'bounds.first_date') }} as date
        ) as date_day,
        bounds.last_date
    from bounds
    cross join numbers
    where numbers.generated_number - 1 <= {{ days_between('bounds.first_date', 'bounds.last_date') }}

),

-- 1900-01-01 was a Monday. Engines number and name weekdays differently; counting days is the same in all.
counted as (

    select
        date_day,
        cast(
            1 + mod({{ days_between("cast('1900-01-01' as date)", 'date_day') }}, 7) as {{ dbt.type_int() }}
        ) as weekday_number
    from days

)

select
    date_day,
    weekday_number,
    case weekday_number
        when 1 then 'Monday'
        when 2 then 'Tuesday'
        when 3 then 'Wednesday'
        when 4 then 'Thursday'
        when 5 then 'Friday'
        when 6 then 'Saturday'
        else 'Sunday'
    end as weekday_name,
    weekday_number >= 6 as is_weekend,
    cast({{ dbt.dateadd('day', '1 - weekday_number', 'date_day') }} as date) as week_start_date,
    cast({{ dbt.date_trunc('month', 'date_day') }} as date) as month_start_date,
    cast({{ dbt.date_trunc('quarter', 'date_day') }} as date) as quarter_start_date,
    cast({{ dbt.date_trunc('year', 'date_day') }} as date) as year_start_date
from counted
