{#- Shops in which the column's values do not add up to one. A shop without any value passes. -#}
{% test adds_up_to_one(model, column_name) %}
select
  source_name,
  sum({{ column_name }}) as total
from {{ model }}
group by source_name
having abs(sum({{ column_name }}) - 1) > 0.000001
{% endtest %}
