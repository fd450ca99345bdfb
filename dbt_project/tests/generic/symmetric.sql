{#- A table of pairs that must hold each pair in both orders: rows whose other order is missing, or says something else. -#}
{% test symmetric(model, key, other_key, same_columns=[], swapped_columns={}) %}
select
  pairs.{{ key }},
  pairs.{{ other_key }}
from {{ model }} as pairs
left join {{ model }} as swapped
  on
    pairs.{{ key }} = swapped.{{ other_key }}
    and pairs.{{ other_key }} = swapped.{{ key }}
where
  swapped.{{ key }} is null
  {%- for column in same_columns %}
  or pairs.{{ column }} <> swapped.{{ column }}
  or (pairs.{{ column }} is null) <> (swapped.{{ column }} is null)
  {%- endfor %}
  {%- for column, other_column in swapped_columns.items() %}
  or pairs.{{ column }} <> swapped.{{ other_column }}
  or (pairs.{{ column }} is null) <> (swapped.{{ other_column }} is null)
  {%- endfor %}
{% endtest %}
