{#- The column's sum is that of a raw table's field, whose amounts are rounded to the cent one by one. What the raw table
    holds that is no amount of money (NaN, infinity, a million millions or more) counts as nothing. -#}
{% test same_sum(model, column_name, to, field) %}
with

here as (
  select coalesce(sum({{ column_name }}), 0) as total
  from {{ model }}
),

there as (
  select coalesce(sum({{ to_money(field) }}), 0) as total
  from {{ to }}
)

select
  here.total as total_here,
  there.total as total_there
from here
cross join there
where here.total <> there.total
{% endtest %}
