{#- Rows for a category that the customer has bought in before. -#}
{% test never_bought(model) %}
  select model.customer_key
  from {{ model }} as model
  inner join {{ ref('int_score_lines') }} as lines
      on
          model.customer_key = lines.customer_key
          and model.category_key = lines.category_key
{% endtest %}
