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
        evidence.wanted_number,
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

)

select
    candidates.source_name,
    candidates.step,
    candidates.customer_number,
    candidates.category_number,
    {{ evidence_columns('candidates', 'summed', 'usual') }},
    candidates.adopted
from candidates
left join summed
    on
        candidates.step = summed.step
        and candidates.customer_number = summed.customer_number
        and candidates.category_number = summed.wanted_number
left join {{ ref('int_score_usual_evidence') }} as usual
    on
        candidates.step = usual.step
        and candidates.category_number = usual.wanted_number
