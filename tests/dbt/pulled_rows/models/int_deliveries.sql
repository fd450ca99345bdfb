select source_name, table_name, delivery, load_id, is_held
from {{ source('made_up', 'deliveries') }}
