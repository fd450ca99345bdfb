{{ union_sources('purchases') }}
