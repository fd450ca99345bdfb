-- What a customer's own categories say about each category that they could begin.
with

candidates as (

    select * from {{ ref('int_score_candidates') }}

),

said as (

    select
        co_ownership.source_name,
        co_ownership.step,
        co_ownership.owned_number,
        co_ownership.wanted_number,
        co_ownership.residual_co_ownership,
        co_ownership.mean_residual_co_ownership,
        coalesce(evidence.directed_evidence, 0) as directed_evidence,
        coalesce(evidence.evidence_of_others, 0) as evidence_of_others
    from {{ ref('int_score_residual_co_ownership') }} as co_ownership
    left join {{ ref('int_score_directed_evidence') }} as evidence
        on
            co_ownership.step = evidence.step
            and co_ownership.owned_number = evidence.owned_number
            and co_ownership.wanted_number = evidence.wanted_number

),

means as (

    select
        step,
        wanted_number,
        max(mean_residual_co_ownership) as mean_residual_co_ownership,
        sum(evidence_of_others) as evidence_of_others
    from said
    group by
        step,
        wanted_number

),

summed as (

    select
        ownership.step,
        ownership.customer_number,
        said.wanted_number,
        sum(said.residual_co_ownership) as residual_co_ownership,
        sum(said.directed_evidence) as directed_evidence
    from {{ ref('int_score_ownership') }} as ownership
    inner join said
        on
            ownership.step = said.step
            and ownership.category_number = said.owned_number
    group by
        ownership.step,
        ownership.customer_number,
        said.wanted_number

)

select
    candidates.source_name,
    candidates.step,
    candidates.customer_number,
    candidates.category_number,
    coalesce(summed.residual_co_ownership, 0)
    - candidates.owned_count * coalesce(means.mean_residual_co_ownership, 0) as residual_co_ownership,
    coalesce(summed.directed_evidence, 0) + coalesce(means.evidence_of_others, 0) as directed_evidence,
    candidates.adopted
from candidates
left join summed
    on
        candidates.step = summed.step
        and candidates.customer_number = summed.customer_number
        and candidates.category_number = summed.wanted_number
left join means
    on
        candidates.step = means.step
        and candidates.category_number = means.wanted_number
