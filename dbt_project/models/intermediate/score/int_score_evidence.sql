{{ config(materialized='view') }}
-- What owning one category says about another, in both ways in which it is measured.
select
    co_ownership.source_name,
    co_ownership.step,
    co_ownership.owned_number,
    co_ownership.wanted_number,
    categories.sample_letter,
    co_ownership.residual_co_ownership,
    co_ownership.mean_residual_co_ownership,
    coalesce(directed.directed_evidence, 0) as directed_evidence,
    coalesce(directed.evidence_of_others, 0) as evidence_of_others
from {{ ref('int_score_residual_co_ownership') }} as co_ownership
inner join {{ ref('int_score_categories') }} as categories
    on
        co_ownership.step = categories.step
        and co_ownership.wanted_number = categories.category_number
left join {{ ref('int_score_directed_evidence') }} as directed
    on
        co_ownership.step = directed.step
        and co_ownership.owned_number = directed.owned_number
        and co_ownership.wanted_number = directed.wanted_number
