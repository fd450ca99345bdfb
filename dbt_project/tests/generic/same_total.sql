{#- Shops in which the column's total differs from that of another table's column. -#}
{% test same_total(model, column_name, to, field) %}
with

this_table as (
  select source_name, sum({{ column_name }}) as total
  from {{ model }}
  group by source_name
),

other_table as (
  select source_name, sum({{ field }}) as total
  from {{ to }}
  group by source_name
)

select
  coalesce(this_table.source_name, other_table.source_name) as source_name,
  this_table.total,
  other_table.total as other_total
from this_table
full outer join other_table
  on this_table.source_name = other_table.source_name
where coalesce(this_table.total, 0) <> coalesce(other_table.total, 0)
{% endtest %}
