{{ config(materialized='view') }}
-- What is said about a category by the categories that a customer does not own, or owns like everybody else.
select
    source_name,
    step,
    wanted_number,
    max(mean_residual_co_ownership) as mean_residual_co_ownership,
    sum(evidence_of_others) as evidence_of_others
from {{ ref('int_score_evidence') }}
group by
    source_name,
    step,
    wanted_number
