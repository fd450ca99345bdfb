{#- Models with a row per purchase line or basket replace only the rows of changed baskets, where the run that starts dbt knows
    that they are otherwise what their code would make of the rows before (quality/up_to_date.py). It names them in
    NEXT_AISLE_REPLACES_ROWS. In every other case they are built whole: by hand, with other code or settings, after a build that
    was killed, and on Spark.

    A changed basket is one that has other raw rows than the purchase lines were built from, or rows of other deliveries, or a
    product with another category. It is found by comparing tables, not by a ledger of what was done: so nothing is missed after
    a copy of the warehouse was put back. -#}

{#- dbt's own macro, which is_incremental() asks too: whether a model is built whole. -#}
{% macro should_full_refresh() -%}
  {%- set configured = config.get('full_refresh') -%}
  {%- set is_whole = flags.FULL_REFRESH if configured is none else configured -%}
  {{ return(is_whole or not is_named_in('NEXT_AISLE_REPLACES_ROWS', model.name)) }}
{%- endmacro %}

{#- Whether the run that started dbt names a model or test in a variable of the environment. -#}
{% macro is_named_in(variable, name) -%}
  {{ return(execute and name in env_var(variable, '').split(',')) }}
{%- endmacro %}

{#- dbt's own macro, which says what rows of a model a test reads: new ones are enough where all others passed it before. -#}
{% macro get_where_subquery(relation) -%}
  {%- set conditions = [] -%}
  {%- if config.get('where') -%}
    {%- do conditions.append('(' ~ config.get('where') ~ ')') -%}
  {%- endif -%}
  {%- if is_named_in('NEXT_AISLE_TESTS_NEW_ROWS', model.name) -%}
    {%- set by_key = graph.nodes[model.attached_node].config.unique_key == 'basket_key' -%}
    {%- do conditions.append(has_changed_basket_key() if by_key else is_in_changed_baskets()) -%}
  {%- endif -%}
  {{ return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') as tested' if conditions else relation) }}
{%- endmacro %}

{#- How such a model is materialized. dbt-spark knows no such strategy for Parquet: there it is a table. -#}
{% macro row_level() -%}
  {{ return('incremental' if target.type == 'duckdb' else 'table') }}
{%- endmacro %}

{% macro changed_baskets() -%}
  {{ return(api.Relation.create(target.database, 'build_state', 'changed_baskets')) }}
{%- endmacro %}

{#- Whether a row with a basket's number, or with its key, is of a changed basket. Rows without a number count as one basket. -#}
{% macro is_in_changed_baskets(table=none) -%}
  {%- set of = table ~ '.' if table else '' -%}
  ({{ of }}source_name, coalesce({{ of }}basket_id, '')) in (select source_name, basket_id from {{ changed_baskets() }})
{%- endmacro %}

{% macro has_changed_basket_key() -%}
  basket_key in (select basket_key from {{ changed_baskets() }})
{%- endmacro %}

{#- Whether a line of a source whose returns take back purchases keeps the reason that it has: it is in a basket that was read
    only for another customer of it. -#}
{% macro keeps_its_reason(table) -%}
  (
    {{ is_one_of(table ~ '.source_name', sources_that_cancel()) }}
    and ({{ table }}.source_name, coalesce({{ table }}.basket_id, ''))
    not in (select source_name, basket_id from {{ changed_baskets() }} where is_changed)
    and ({{ table }}.source_name, coalesce({{ table }}.customer_id, ''))
    not in (select source_name, coalesce(customer_id, '') from build_state.changed_customers)
  )
{%- endmacro %}

{#- The strategy of these models: in one transaction, the rows of changed baskets go and their new rows come. How many came is
    noted for the run's report. -#}
{% macro get_incremental_changed_baskets_sql(arguments) -%}
  {%- set columns = arguments.dest_columns | map(attribute='quoted') | join(', ') %}
  {%- set target_relation = arguments.target_relation %}
  delete from {{ target_relation }}
  where
  {% if arguments.unique_key == 'basket_key' %}{{ has_changed_basket_key() }}{% else %}{{ is_in_changed_baskets() }}{% endif %};
  insert into {{ target_relation }} ({{ columns }})
  select {{ columns }} from {{ arguments.temp_relation }};
  insert into build_state.replaced_rows
  select '{{ model.unique_id }}', count(*) from {{ arguments.temp_relation }}
{%- endmacro %}

{#- The staged, or else the built, purchase lines of the deliveries in a table of build_state. Without these, all rows would be
    read: from the names of deliveries, the engine knows where in the table their rows are. -#}
{% macro lines_of_deliveries(table, built=none) -%}
  {%- for condition in ['in (select delivery from build_state.' ~ table ~ ')', 'is null'] %}
  {%- if built %}
  select * from {{ built }} where delivery {{ condition }}
  {%- else %}
  {{ delivered_rows('purchases') }}
  where delivered_rows.delivery {{ condition }}
  {%- endif %}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- Counts the purchase lines of two sides by some columns, one side with a minus: what adds up to zero is the same on both. -#}
{% macro counted_lines(columns, fingerprint, sides, condition) -%}
  {%- for rows, sign in sides %}
    select
      {{ columns | join(', ') }},
      {{ sign }} count(*) as row_count,
      {{ sign }} {{ fingerprint }} as fingerprint
    from {{ rows }} as rows
    where {{ condition }}
    group by all
  {%- if not loop.last %}
    union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}

{#- Writes down the baskets whose purchase lines are no longer what the raw rows say; before int_purchase_lines. -#}
{% macro find_changed_baskets() -%}
  {%- if is_incremental() %}
  {%- set columns = [
      'source_name', 'customer_id', 'basket_id', 'product_id', 'store_id', 'purchased_at', 'quantity', 'amount', 'discount_amount',
      'delivery', 'load_id', 'set_aside_reason', 'delivered_at', 'is_superseded'
  ] %}
  {#- Of staging models that read one raw row for each of theirs, nothing but its delivery can change. #}
  {%- set row_by_row = sources_staged_row_by_row() %}
  {%- set fingerprint = 'sum(hash(' ~ columns | join(', ') ~ '))' %}
  {%- set status = "hash(is_superseded, coalesce(set_aside_reason, '') = 'held_delivery', delivered_at)" %}
  {%- set is_row_by_row = is_one_of('source_name', row_by_row) %}
  {%- set delivery = ['source_name', 'delivery', 'load_id'] %}
  {%- set both = [('staged', '+'), (this, '-')] %}
  create or replace table build_state.changed_deliveries as
  with
  staged as (
    {{ delivered_rows('purchases') }}
  ),
  counted as (
    {{ counted_lines(delivery, 'cast(max(' ~ status ~ ') as hugeint)', both, is_row_by_row) }}
    union all
    {{ counted_lines(delivery, fingerprint, both, 'not ' ~ is_row_by_row) }}
  )
  select
    source_name,
    coalesce(delivery, '') as delivery,
    coalesce(load_id, '') as load_id
  from counted
  group by all
  having sum(row_count) <> 0 or sum(fingerprint) <> 0;

  {%- set both = [
      ('(' ~ lines_of_deliveries('changed_deliveries') ~ ')', '+'),
      ('(' ~ lines_of_deliveries('changed_deliveries', this) ~ ')', '-')
  ] %}
  {%- set is_of_changed_delivery = "(source_name, coalesce(delivery, ''), coalesce(load_id, ''))"
      ~ ' in (select source_name, delivery, load_id from build_state.changed_deliveries)' %}
  create or replace table {{ changed_baskets() }} as
  with
  counted as (
    {{ counted_lines(['source_name', "coalesce(basket_id, '') as basket_id"], fingerprint, both, is_of_changed_delivery) }}
  )
  select
    source_name,
    basket_id,
    {{ source_key('basket_id') }} as basket_key,
    true as is_changed
  from counted
  group by all
  having sum(row_count) <> 0 or sum(fingerprint) <> 0;
  {%- if sources_that_cancel() %}

  -- A return takes back a purchase in any other basket of the customer.
  create or replace table build_state.changed_customers as
  with
  staged as (
    {{ delivered_rows('purchases') }}
  )
  {%- for rows in ['staged', this | string] %}
  select distinct
    source_name,
    customer_id
  from {{ rows }} as rows
  where
    {{ is_one_of('source_name', sources_that_cancel()) }}
    and customer_id is not null
    and {{ is_in_changed_baskets('rows') }}
  {%- if not loop.last %}
  union
  {%- endif %}
  {%- endfor %};

  insert into {{ changed_baskets() }}
  with
  staged as (
    {{ delivered_rows('purchases') }}
  )
  select distinct
    source_name,
    coalesce(basket_id, '') as basket_id,
    {{ source_key("coalesce(basket_id, '')") }} as basket_key,
    false as is_changed
  from staged
  where
    (source_name, customer_id) in (select source_name, customer_id from build_state.changed_customers)
    and not {{ is_in_changed_baskets('staged') }};
  {%- endif %}

  -- Of a changed basket, some lines may be in deliveries that did not change.
  create or replace table build_state.read_deliveries as
  select delivery from build_state.changed_deliveries
  union
  select delivery from {{ this }}
  where {{ is_in_changed_baskets() }};
  {%- endif %}
{%- endmacro %}

{#- Adds the baskets with a product that has another key or category now; before fct_purchases. -#}
{% macro find_baskets_of_changed_products() -%}
  {%- if is_incremental() %}
  insert into {{ changed_baskets() }}
  select distinct
    purchases.source_name,
    substr(purchases.basket_key, length(purchases.source_name) + 2) as basket_id,
    purchases.basket_key,
    false as is_changed
  from {{ this }} as purchases
  left join {{ ref('product_numbers') }} as products
    on
      purchases.source_name = products.source_name
      and purchases.product_id = products.product_id
  where
    (
      products.product_id is null
      or purchases.product_key <> products.product_key
      or purchases.category_key <> products.category_key
      or purchases.is_merchandise <> products.is_merchandise
    )
    and not {{ has_changed_basket_key() }};
  {%- endif %}
{%- endmacro %}

{#- The active sources whose purchases are staged row by row: the view reads one raw table and nothing else, without joins,
    windows and aggregates. -#}
{% macro sources_staged_row_by_row() -%}
  {%- set found = [] %}
  {%- for name in sources_with('purchases') %}
  {%- set staging = graph.nodes['model.' ~ project_name ~ '.stg_' ~ name ~ '__purchases'] %}
  {%- set rows = run_query(
      "select lower(sql) from duckdb_views() where schema_name = '" ~ staging.schema ~ "' and view_name = '"
      ~ staging.alias ~ "'"
  ).rows %}
  {%- set sql = rows[0][0] if rows else '' %}
  {%- set others = '\\b(over|group|distinct|join|union|intersect|except|limit|qualify|exists|unnest|sample|pivot)\\b' %}
  {%- if sql and not modules.re.search(others, sql) and modules.re.findall('\\bselect\\b', sql) | length <= 3
      and modules.re.findall('\\braw_', sql) | length == 1 %}
  {%- do found.append(name) %}
  {%- endif %}
  {%- endfor %}
  {{ return(found) }}
{%- endmacro %}
