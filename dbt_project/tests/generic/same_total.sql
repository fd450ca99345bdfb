{#- An accounting identity: the column's total per source is that of another model's column, to the cent. -#}
{% test same_total(model, column_name, to, field) %}
with

here as (
  select source_name, sum({{ column_name }}) as total
  from {{ model }}
  group by source_name
),

there as (
  select source_name, sum({{ field }}) as total
  from {{ to }}
  group by source_name
)

select
  coalesce(here.source_name, there.source_name) as source_name,
  here.total as total_here,
  there.total as total_there
from here
full outer join there
  on here.source_name = there.source_name
where coalesce(here.total, 0) <> coalesce(there.total, 0)
{% endtest %}
