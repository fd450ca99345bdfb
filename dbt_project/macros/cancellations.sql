{#- Purchases that a later return takes back, and these returns, with the reason not to count them; for int_purchase_lines, from
    its CTE `judged`.

    In the given sources a return takes back the newest earlier purchase of the same customer, product and quantity that no
    other return has taken back: they pair up like opening and closing brackets. The depth of a bracket is how many are open
    with it, and within a depth each closing one follows the opening one that it belongs to. -#}
{% macro cancellations(sources) -%}
  {%- if sources %}
  {%- set in_order = 'order by purchased_at, quantity desc, basket_id, line_number' %}
  select
    source_name,
    basket_id,
    product_id,
    position_in_basket,
    coalesce(own_reason, 'none') as own_reason,
    case when is_return then 'cancellation' else 'cancelled' end as cancellation_reason
  from (
    select
      *,
      case
        when is_return
          then not lag(is_return) over (
            partition by source_name, customer_id, product_id, abs(quantity), depth {{ in_order }}
          )
        else lead(is_return) over (
          partition by source_name, customer_id, product_id, abs(quantity), depth {{ in_order }}
        )
      end as is_paired
    from (
      select
        *,
        quantity < 0 as is_return,
        sum(case when quantity < 0 then -1 else 1 end) over (
          partition by source_name, customer_id, product_id, abs(quantity) {{ in_order }}
          rows between unbounded preceding and current row
        )
        + case when quantity < 0 then 1 else 0 end as depth
      from judged
      where
        source_name in ('{{ sources | join("', '") }}')
        and (own_reason is null or (own_reason = 'return' and quantity < 0))
    ) as nested
  ) as paired
  where is_paired
  {%- else %}
  select
    cast(null as {{ dbt.type_string() }}) as source_name,
    cast(null as {{ dbt.type_string() }}) as basket_id,
    cast(null as {{ dbt.type_string() }}) as product_id,
    cast(null as bigint) as position_in_basket,
    cast(null as {{ dbt.type_string() }}) as own_reason,
    cast(null as {{ dbt.type_string() }}) as cancellation_reason
  where 1 = 0
  {%- endif %}
{%- endmacro %}
