{#- Values of `by` whose ranks are not 1, 2, 3 and so on. -#}
{% test ranks_without_gaps(model, by, rank) %}
  select {{ by }}
  from {{ model }}
  group by {{ by }}
  having min({{ rank }}) <> 1 or max({{ rank }}) <> count(*)
{% endtest %}
