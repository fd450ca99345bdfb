{{ raw_quarantine() }}
