-- Which deliveries count is decided here and nowhere else. The newest version of a delivery does; load numbers increase
-- with time. Of a shop that is held, only those that readers have count: the others wait, and replace nothing.
with

deliveries as (

    select * from {{ ref('int_staged_deliveries') }}

),

{{ held_or_not() }}

select
    source_name,
    table_name,
    delivery,
    load_id,
    row_count,
    delivered_at,
    load_id < max(load_id) over (partition by source_name, table_name, delivery, is_held) as is_superseded,
    is_held
from deliveries_held_or_not
