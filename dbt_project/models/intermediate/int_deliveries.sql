-- The newest delivery of a file counts: this is decided here and nowhere else. Load numbers increase with time.
with

deliveries as (

    {{ raw_deliveries() }}

)

select
    source_name,
    table_name,
    landed_file,
    load_id,
    row_count,
    delivered_at,
    load_id < max(load_id) over (partition by source_name, table_name, landed_file) as is_superseded
from deliveries
