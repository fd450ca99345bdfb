-- Whether owners of one category begin another more often than customers who do not own it, in the windows before a
-- date: the difference in log odds of the two rates, each shrunk toward the rate of all. Only pairs of categories that
-- int_score_residual_co_ownership keeps.
with

pairs as (

    select * from {{ ref('int_score_residual_co_ownership') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

ownership as (

    select * from {{ ref('int_score_ownership') }}
    where step > 0

),

adopters as (

    select * from {{ ref('int_score_adopters') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where
        step > 0
        and is_active
        and is_sampled

),

-- Each window begins at its own date: who could begin which category then, and who owned what.
active as (

    select
        source_name,
        step,
        count(*) as customer_count
    from customers
    group by
        source_name,
        step

),

no_candidates as (

    select
        customers.step,
        exclusions.category_number,
        count(*) as customer_count
    from {{ ref('int_score_exclusions') }} as exclusions
    inner join customers
        on
            exclusions.customer_number = customers.customer_number
            and exclusions.excluded_step >= customers.step
    group by
        customers.step,
        exclusions.category_number

),

adopted as (

    select
        step,
        category_number,
        count(*) as adopter_count
    from adopters
    group by
        step,
        category_number

),

windows as (

    select
        categories.step,
        categories.category_number,
        active.customer_count - coalesce(no_candidates.customer_count, 0) as candidate_count,
        coalesce(adopted.adopter_count, 0) as adopter_count
    from categories
    inner join active
        on
            categories.source_name = active.source_name
            and categories.step = active.step
    left join no_candidates
        on
            categories.step = no_candidates.step
            and categories.category_number = no_candidates.category_number
    left join adopted
        on
            categories.step = adopted.step
            and categories.category_number = adopted.category_number

),

active_owners as (

    select
        step,
        category_number,
        count(*) as owner_count
    from ownership
    group by
        step,
        category_number

),

owner_adopters as (

    select
        adopters.step,
        ownership.category_number as owned_number,
        adopters.category_number as wanted_number,
        count(*) as adopter_count
    from adopters
    inner join ownership
        on
            adopters.step = ownership.step
            and adopters.customer_number = ownership.customer_number
    group by
        adopters.step,
        ownership.category_number,
        adopters.category_number

),

earlier as (

    {{ windows_before(ref('int_score_dates'), evidence_window_factor()) }}

),

counted as (

    select
        pairs.source_name,
        pairs.step,
        pairs.owned_number,
        pairs.wanted_number,
        pairs.owned_share,
        sum(earlier.weight * windows.candidate_count) as candidates,
        sum(earlier.weight * windows.adopter_count) as adopters,
        -- Owners who own the other category already could not begin it.
        sum(
            earlier.weight * coalesce(active_owners.owner_count, 0)
            * (1 - cast(pairs.both_count as double) / category.sampled_owner_count)
        ) as owner_candidates,
        sum(earlier.weight * coalesce(owner_adopters.adopter_count, 0)) as owner_adopters
    from pairs
    inner join categories as category
        on
            pairs.step = category.step
            and pairs.owned_number = category.category_number
    inner join earlier
        on
            pairs.source_name = earlier.source_name
            and pairs.step = earlier.step
    inner join windows
        on
            earlier.window_step = windows.step
            and pairs.wanted_number = windows.category_number
    left join active_owners
        on
            earlier.window_step = active_owners.step
            and pairs.owned_number = active_owners.category_number
    left join owner_adopters
        on
            earlier.window_step = owner_adopters.step
            and pairs.owned_number = owner_adopters.owned_number
            and pairs.wanted_number = owner_adopters.wanted_number
    group by
        pairs.source_name,
        pairs.step,
        pairs.owned_number,
        pairs.wanted_number,
        pairs.owned_share

),

rated as (

    select
        *,
        {{ shrunk_share('adopters', 'candidates') }} as adoption_rate
    from counted

),

weighted as (

    select
        *,
        greatest(
            {{ adoption_lift_prior_candidates() }}, {{ adoption_lift_prior_adopters() }} / adoption_rate
        ) as prior_weight
    from rated

),

shrunk as (

    select
        *,
        (owner_adopters + prior_weight * adoption_rate) / (owner_candidates + prior_weight) as owner_rate,
        (greatest(adopters - owner_adopters, 0) + prior_weight * adoption_rate)
        / (greatest(candidates - owner_candidates, 0) + prior_weight) as other_rate
    from weighted

),

limited as (

    select
        *,
        least(owner_rate, {{ maximum_adoption_rate() }}) as limited_owner_rate,
        least(other_rate, {{ maximum_adoption_rate() }}) as limited_other_rate,
        least(adoption_rate, {{ maximum_adoption_rate() }}) as limited_rate
    from shrunk

)

select
    source_name,
    step,
    owned_number,
    wanted_number,
    round({{ log_odds('limited_owner_rate') }} - {{ log_odds('limited_other_rate') }}, 9) as directed_evidence,
    round({{ log_odds('limited_other_rate') }} - {{ log_odds('limited_rate') }}, 9) as evidence_of_others
from limited
