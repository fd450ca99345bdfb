{#- Reasons that name a category the customer has never bought in. -#}
{% test reasons_are_owned(model) %}
  with

  owned as (

      select distinct
          customer_key,
          category_key
      from {{ ref('int_score_lines') }}

  )

  select reasons.*
  from {{ model }} as reasons
  left join owned
      on
          reasons.customer_key = owned.customer_key
          and reasons.owned_category_key = owned.category_key
  where owned.customer_key is null
{% endtest %}
