{#- Fails with one row when no row has a value in the column; an empty table has none. -#}
{% test at_least_one(model, column_name) %}
select value_count
from (select count({{ column_name }}) as value_count from {{ model }}) as counted
where value_count = 0
{% endtest %}
