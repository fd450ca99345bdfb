-- What a customer's own categories say about each category that they could begin, of all who are scored.
with

candidates as (

    select * from {{ ref('int_score_candidates') }}
    where is_scored

),

summed as (

    select
        ownership.step,
        ownership.customer_number,
        evidence.wanted_number as category_number,
        sum(evidence.residual_co_ownership) as residual_co_ownership,
        sum(evidence.directed_evidence) as directed_evidence
    from {{ ref('int_score_ownership') }} as ownership
    inner join {{ ref('int_score_evidence') }} as evidence
        on
            ownership.step = evidence.step
            and ownership.category_number = evidence.owned_number
    where ownership.is_scored
    group by
        ownership.step,
        ownership.customer_number,
        evidence.wanted_number

),

with_evidence as (

    {{ with_evidence('candidates', 'summed') }}

)

select
    source_name,
    step,
    customer_number,
    category_number,
    residual_co_ownership,
    directed_evidence,
    adopted
from with_evidence
