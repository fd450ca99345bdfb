{{ union_sources('category_totals') }}
