{#- Within each value of `by` the ranks are 1, 2, 3 and so on: as many as the highest of them, beginning with one. -#}
{% test ranks_without_gaps(model, by, rank) %}
  select {{ by }}
  from {{ model }}
  group by {{ by }}
  having min({{ rank }}) <> 1 or max({{ rank }}) <> count(*)
{% endtest %}
