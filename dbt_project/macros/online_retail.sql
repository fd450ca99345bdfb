{#- The customer's number of the shop online_retail, for its staging models: it sends 13313 as 13313.0. -#}
{% macro online_retail_customer_id() -%}
  case
            when customer_id like '%.0' then substr(customer_id, 1, length(customer_id) - 2)
            else {{ clean_key('customer_id') }}
        end
{%- endmacro %}
