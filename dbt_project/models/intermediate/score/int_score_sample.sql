-- Pairs of sampled customers with their features. Where a window has many pairs that were not adopted, a part of them
-- is enough: those whose customer and category have the same letter.
with

candidates as (

    select * from {{ ref('int_score_candidates') }}
    where
        is_sampled
        and has_same_letter

),

other_adopters as (

    select * from {{ ref('int_score_adopters') }}
    where not has_same_letter

),

pairs as (

    select
        source_name,
        step,
        customer_number,
        category_number,
        owned_count,
        adopted,
        case
            when sample_letter = {{ score_any_letter() }} or adopted = 1 then 1
            else {{ score_pairs_per_sampled() }}
        end as weight,
        case
            when sample_letter = {{ score_any_letter() }} then 1
            else {{ score_pairs_per_sampled() }}
        end as weight_without_outcome
    from candidates

    union all

    select
        source_name,
        step,
        customer_number,
        category_number,
        owned_count,
        1 as adopted,
        1 as weight,
        0 as weight_without_outcome
    from other_adopters

),

-- Only for pairs that are sampled, because all pairs would take many times as long.
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
            and ownership.sample_letter = evidence.sample_letter
    where ownership.is_sampled
    group by
        ownership.step,
        ownership.customer_number,
        evidence.wanted_number

    union all

    -- Left joins: a planner could join the two large relations first.
    select
        other_adopters.step,
        other_adopters.customer_number,
        other_adopters.category_number,
        sum(evidence.residual_co_ownership) as residual_co_ownership,
        sum(evidence.directed_evidence) as directed_evidence
    from other_adopters
    left join {{ ref('int_score_ownership') }} as ownership
        on
            other_adopters.step = ownership.step
            and other_adopters.customer_number = ownership.customer_number
    left join {{ ref('int_score_evidence') }} as evidence
        on
            ownership.step = evidence.step
            and ownership.category_number = evidence.owned_number
            and other_adopters.category_number = evidence.wanted_number
    group by
        other_adopters.step,
        other_adopters.customer_number,
        other_adopters.category_number

),

with_evidence as (

    {{ with_evidence('pairs', 'summed') }}

)

select
    p.source_name,
    p.step,
    p.customer_number,
    p.category_number,
    p.adopted,
    p.weight,
    p.weight_without_outcome,
    {%- for feature, expression in score_features().items() %}
        {{ expression }} as {{ feature }},
    {%- endfor %}
    {{ log_odds('k.adoption_rate') }} as base
-- Each pair has a customer and a category, so inner joins would give the same rows; but a planner could then join all
-- customers with all categories first.
from with_evidence as p
left join {{ ref('int_score_customers') }} as c
    on
        p.step = c.step
        and p.customer_number = c.customer_number
left join {{ ref('int_score_categories') }} as k
    on
        p.step = k.step
        and p.category_number = k.category_number
