{{ raw_row_counts() }}
