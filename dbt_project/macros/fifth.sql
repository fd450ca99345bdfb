{#- Which fifth of its shop a row falls in, 1 to 5; `direction` asc: the largest values are in 5.
    From the share of rows that rank strictly below, so that equal values get equal numbers (ntile() would split them). -#}
{% macro fifth(column, direction) -%}
  1 + cast(floor(5 * least(0.9999, percent_rank() over (
    partition by source_name order by {{ column }} {{ direction }}
  ))) as {{ dbt.type_int() }})
{%- endmacro %}
