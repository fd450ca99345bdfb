{{ raw_deliveries() }}
