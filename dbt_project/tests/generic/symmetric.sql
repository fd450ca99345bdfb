{#- A table of pairs that must hold each pair in both orders. Rows whose other order is missing, or in which one of the
    columns differs from what the other order says. `swapped` maps a column to the one it changes places with. -#}
{% test symmetric(model, one, other, columns=[], swapped={}) %}
select
  here.{{ one }},
  here.{{ other }}
from {{ model }} as here
left join {{ model }} as there
  on
    here.{{ one }} = there.{{ other }}
    and here.{{ other }} = there.{{ one }}
where
  there.{{ one }} is null
  {%- for column in columns %}
  or here.{{ column }} <> there.{{ column }}
  or (here.{{ column }} is null) <> (there.{{ column }} is null)
  {%- endfor %}
  {%- for column, its_other in swapped.items() %}
  or here.{{ column }} <> there.{{ its_other }}
  or (here.{{ column }} is null) <> (there.{{ its_other }} is null)
  {%- endfor %}
{% endtest %}
