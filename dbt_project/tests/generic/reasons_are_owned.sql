{#- Each reason names a category that the customer has bought in. -#}
{% test reasons_are_owned(model) %}
  with

  reasons as (

      {%- for number in [1, 2, 3] %}
      select
          customer_key,
          reason_{{ number }} as reason,
          {{ dbt.split_part('reason_' ~ number, "': those who do begin '", 1) }} as said
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
          'buys ' || category_name as said
      from {{ ref('int_score_lines') }}

  )

  select reasons.*
  from reasons
  left join owned
      on
          reasons.customer_key = owned.customer_key
          and reasons.said = owned.said
  where owned.customer_key is null
{% endtest %}
