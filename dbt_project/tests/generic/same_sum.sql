{#- The column's sum differs from that of a raw table's field, each amount of which is rounded to the cent. A raw value that
    is not an amount of money (NaN, infinity, a million millions or more) is not counted. -#}
{% test same_sum(model, column_name, to, field) %}
with

this_table as (
  select coalesce(sum({{ column_name }}), 0) as total
  from {{ model }}
),

other_table as (
  select coalesce(sum({{ to_money(field) }}), 0) as total
  from {{ to }}
)

select
  this_table.total,
  other_table.total as other_total
from this_table
cross join other_table
where this_table.total <> other_table.total
{% endtest %}
