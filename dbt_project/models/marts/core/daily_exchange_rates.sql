{%- set is_the_only_shop = (var('sources') | length == 1 and not var('reporting_currency')) | string | lower -%}
{%- set named_currency = "'" ~ var('reporting_currency') ~ "'" if var('reporting_currency') else 'null' -%}
with

shop_days as (

    select
        source_name,
        cast(purchased_at as date) as rate_date
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is null or rejection_reason = 'return'

    union distinct

    -- Totals without dates are converted as of the day that they were delivered on.
    select
        source_name,
        delivered_on as rate_date
    from {{ ref('int_category_totals') }}
    where rejection_reason is null

),

source_currencies as (

    select * from {{ ref('source_currencies') }}

),

exchange_rates as (

    select * from {{ ref('exchange_rates') }}

),

-- The currency of all amounts in the marts: that of the first shop in the list of sources, unless a variable names it.
reporting as (

    select
        coalesce(
            cast({{ named_currency }} as {{ dbt.type_string() }}),
            max(case when source_name = '{{ var('sources') | first }}' then currency end)
        ) as currency
    from source_currencies

),

in_currency as (

    select
        shop_days.source_name,
        shop_days.rate_date,
        source_currencies.currency,
        reporting.currency as reporting_currency
    from shop_days
    cross join reporting
    left join source_currencies
        on shop_days.source_name = source_currencies.source_name

),

-- The newest rate of each day.
found as (

    select
        in_currency.source_name,
        in_currency.rate_date,
        exchange_rates.rate,
        row_number() over (
            partition by in_currency.source_name, in_currency.rate_date
            order by exchange_rates.from_date desc
        ) as position
    from in_currency
    inner join exchange_rates
        on
            in_currency.currency = exchange_rates.currency
            and in_currency.reporting_currency = exchange_rates.to_currency
    where
        in_currency.rate_date >= exchange_rates.from_date
        and {{ days_between('exchange_rates.from_date', 'in_currency.rate_date') }} < {{ var('exchange_rate_days') }}

)

select
    in_currency.source_name,
    in_currency.rate_date,
    in_currency.currency,
    in_currency.reporting_currency,
    cast(
        case
            when in_currency.currency = in_currency.reporting_currency then 1
            -- The only shop reports in its own currency, whatever that is.
            when in_currency.currency is null and {{ is_the_only_shop }} then 1
            else found.rate
        end as decimal(18, 8)
    ) as rate
from in_currency
left join found
    on
        in_currency.source_name = found.source_name
        and in_currency.rate_date = found.rate_date
        and found.position = 1
