{#- Each reason names a category that the customer has bought in. -#}
{% test reasons_are_owned(model) %}
  with

  reasons as (

      {%- for number in [1, 2, 3] %}
      select
          customer_key,
          {{ dbt.split_part('substr(reason_' ~ number ~ ', 6)', "': those who do begin '", 1) }} as category_name
      from {{ model }}
      where reason_{{ number }} is not null
      {%- if not loop.last %}
      union all
      {%- endif %}
      {%- endfor %}

  ),

  owned as (

      select distinct
          customer_key,
          category_name
      from {{ ref('int_score_lines') }}

  )

  select reasons.*
  from reasons
  left join owned
      on
          reasons.customer_key = owned.customer_key
          and reasons.category_name = owned.category_name
  where owned.customer_key is null
{% endtest %}
