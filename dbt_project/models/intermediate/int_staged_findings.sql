{{ union_sources('findings') }}
