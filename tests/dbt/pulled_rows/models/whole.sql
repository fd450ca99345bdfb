select id, name, _dlt_load_id as load_id, set_aside_reason
from ({{ pulled_rows('made_up', 'products', key='id', whole=true) }}) as pulled
