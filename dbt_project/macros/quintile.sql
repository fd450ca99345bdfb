{#- Which fifth of its shop a row is in, 1 to 5; with `direction` asc the largest values are in 5.
    It follows from the share of rows that rank strictly below, so that equal values get equal numbers; ntile() would
    split them. -#}
{% macro quintile(column, direction) -%}
  1 + cast(floor(5 * least(0.9999, percent_rank() over (
    partition by source_name order by {{ column }} {{ direction }}
  ))) as {{ dbt.type_int() }})
{%- endmacro %}
