{#- CTEs that say which deliveries wait because their shop is held: those that readers do not have. Reads the CTE
    `deliveries` and makes `deliveries_held_or_not`, which has the same rows and the column is_held. -#}
{% macro held_or_not() -%}
held_sources as (

    select distinct source_name
    from {{ source('published', 'held_sources') }}
    where reason is not null

),

deliveries_that_readers_have as (

    select distinct
        source_name,
        table_name,
        delivery,
        delivered_at
    from {{ source('published', 'deliveries') }}

),

deliveries_held_or_not as (

    select
        deliveries.*,
        held_sources.source_name is not null and deliveries_that_readers_have.source_name is null as is_held
    from deliveries
    left join held_sources
        on deliveries.source_name = held_sources.source_name
    left join deliveries_that_readers_have
        on
            deliveries.source_name = deliveries_that_readers_have.source_name
            and deliveries.table_name = deliveries_that_readers_have.table_name
            and deliveries.delivery = deliveries_that_readers_have.delivery
            and deliveries.delivered_at = deliveries_that_readers_have.delivered_at

)
{%- endmacro %}
