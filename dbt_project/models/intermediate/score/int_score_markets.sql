{#- Each round doubles how many steps apart two linked shops may be; n shops are at most n - 1 steps apart. -#}
{%- set rounds = [] -%}
{%- for round in range(var('sources') | length) if 2 ** round < var('sources') | length - 1 -%}
  {%- do rounds.append(loop.index) -%}
{%- endfor -%}
with

shops as (

    select distinct source_name
    from {{ ref('fct_purchases') }}

),

persons as (

    select distinct
        person,
        source_name
    from {{ ref('customer_numbers') }}
    where person is not null

),

-- Shops that share a person.
linked_0 as (

    select distinct
        persons.source_name,
        others.source_name as linked_name
    from persons
    inner join persons as others
        on persons.person = others.person

),
{% for round in rounds %}
-- Shops that are linked through another one.
linked_{{ round }} as (

    select distinct
        linked.source_name,
        onward.linked_name
    from linked_{{ round - 1 }} as linked
    inner join linked_{{ round - 1 }} as onward
        on linked.linked_name = onward.source_name

),
{% endfor %}
-- All shops of a group have the same first shop.
grouped as (

    select
        linked.source_name,
        min(linked.linked_name) as first_name
    from linked_{{ rounds | length }} as linked
    inner join shops
        on linked.source_name = shops.source_name
    group by linked.source_name

),

markets as (

    select
        first_name,
        {{ dbt.listagg('source_name', "' + '", 'order by source_name') }} as market_name
    from grouped
    group by first_name
    having count(*) > 1

)

select
    source_name,
    source_name as category_source_name
from shops

union all

select
    markets.market_name as source_name,
    grouped.source_name as category_source_name
from grouped
inner join markets
    on grouped.first_name = markets.first_name
