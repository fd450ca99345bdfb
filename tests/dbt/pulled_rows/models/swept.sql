select order_id, line, amount, _dlt_load_id as load_id, set_aside_reason
from ({{ pulled_rows('made_up', 'order_lines', key=['order_id', 'line'], key_sweep=true) }}) as pulled
