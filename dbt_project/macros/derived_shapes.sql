{#- Staging models of the shapes that a shop does not send, derived from its raw purchases. Only lines in the newest version of
    their delivery count, and none of a delivery that waits. The rows are of no delivery, and there is one for each number, so
    that none is ever rejected. -#}

{#- The rows of a raw table that are in the newest version of their delivery, without those that wait: their shop is held. -#}
{% macro newest_versions(source_name, table) -%}
  select landed.*
  from {{ source(source_name, table) }} as landed
  inner join {{ ref('int_deliveries') }} as deliveries
    on
      deliveries.source_name = '{{ source_name }}'
      and deliveries.table_name = '{{ table }}'
      and landed._delivery = deliveries.delivery
      and landed._dlt_load_id = deliveries.load_id
  where not deliveries.is_superseded and not deliveries.is_held
{%- endmacro %}

{#- One row per customer number of the raw purchases, in the canonical shape of a customer. With several countries, that of the
    newest line counts.

    Arguments are SQL over the raw table: the customer's number as text, when the line was bought, and the country. table is
    another raw table that names the customers, such as the orders of order lines. -#}
{% macro customers_from_purchases(
    source_name, customer_id, purchased_at, country='cast(null as ' ~ dbt.type_string() ~ ')', table='purchases'
) -%}
with

landed as (

    {{ newest_versions(source_name, table) }}

),

lines as (

    select
        {{ customer_id }} as customer_id,
        {{ purchased_at }} as purchased_at,
        {{ country }} as country
    from landed

),

ranked as (

    select
        customer_id,
        country,
        row_number() over (
            partition by customer_id
            order by
                case when country is null then 1 else 0 end asc,
                max(purchased_at) desc,
                country asc
        ) as country_rank
    from lines
    where customer_id is not null
    group by
        customer_id,
        country

)

select
    cast('{{ source_name }}' as {{ dbt.type_string() }}) as source_name,
    cast(customer_id as {{ dbt.type_string() }}) as customer_id,
    cast(country as {{ dbt.type_string() }}) as country,
    cast(null as {{ dbt.type_string() }}) as delivery,
    cast(null as {{ dbt.type_string() }}) as load_id
from ranked
where country_rank = 1
{%- endmacro %}

{#- One row per product number of the raw purchases, in the canonical shape of a product. Of several names the one that most
    sales have counts; of equally frequent ones the newest, then the first in the alphabet.

    Arguments are SQL over the raw table: the product's number as text, when the line was bought, the product's name, and
    whether the line is a sale: in other lines people write notes where the name should be. others has SQL for further columns
    of a product that stand in the lines, such as {'category': 'item_group'}; they are those of the lines with that name. -#}
{% macro products_from_purchases(source_name, product_id, purchased_at, product_name, is_sale, others={}) -%}
with

landed as (

    {{ newest_versions(source_name, 'purchases') }}

),

lines as (

    select
        {{ product_id }} as product_id,
        {{ purchased_at }} as purchased_at,
        {%- for column, value in others.items() %}
        {{ value }} as {{ column }},
        {%- endfor %}
        case when {{ is_sale }} then {{ product_name }} end as product_name
    from landed

),

ranked as (

    select
        product_id,
        product_name,
        {%- for column in others %}
        {{ column }},
        {%- endfor %}
        row_number() over (
            partition by product_id
            order by
                case when product_name is null then 1 else 0 end asc,
                count(*) desc,
                max(purchased_at) desc,
                product_name asc
                {%- for column in others %},
                {{ column }} asc
                {%- endfor %}
        ) as name_rank
    from lines
    where product_id is not null
    group by
        product_id,
        product_name
        {%- for column in others %},
        {{ column }}
        {%- endfor %}

)

select
    cast('{{ source_name }}' as {{ dbt.type_string() }}) as source_name,
    cast(product_id as {{ dbt.type_string() }}) as product_id,
    cast(product_name as {{ dbt.type_string() }}) as product_name,
    {%- for column in others %}
    cast({{ column }} as {{ dbt.type_string() }}) as {{ column }},
    {%- endfor %}
    cast(null as {{ dbt.type_string() }}) as delivery,
    cast(null as {{ dbt.type_string() }}) as load_id
from ranked
where name_rank = 1
{%- endmacro %}
