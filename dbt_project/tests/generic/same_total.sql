{#- Shops, or other groups, in which the column's total differs from that of another table's column. -#}
{% test same_total(model, column_name, to, field, by='source_name') %}
with

this_table as (
  select {{ by }}, sum({{ column_name }}) as total
  from {{ model }}
  group by {{ by }}
),

other_table as (
  select {{ by }}, sum({{ field }}) as total
  from {{ to }}
  group by {{ by }}
)

select
  coalesce(this_table.{{ by }}, other_table.{{ by }}) as {{ by }},
  this_table.total,
  other_table.total as other_total
from this_table
full outer join other_table
  on this_table.{{ by }} = other_table.{{ by }}
where coalesce(this_table.total, 0) <> coalesce(other_table.total, 0)
{% endtest %}
