with

opportunities as (

    select * from {{ ref('customer_opportunities') }}

),

customers as (

    select * from {{ ref('int_score_customers') }}
    where step = 0

),

categories as (

    select * from {{ ref('int_score_categories') }}
    where step = 0

),

adoptions as (

    select * from {{ ref('int_score_adoptions') }}

),

co_ownership as (

    select * from {{ ref('int_score_residual_co_ownership') }}
    where step = 0

),

directed as (

    select * from {{ ref('int_score_directed_evidence') }}
    where step = 0

),

weights as (

    select * from {{ ref('int_score_weights') }}
    where
        step = 0
        and is_learned

),

affinity as (

    select * from {{ ref('category_affinity') }}

),

said as (

    select
        co_ownership.owned_number,
        co_ownership.wanted_number,
        co_ownership.residual_co_ownership * weights.residual_co_ownership
        + coalesce(directed.directed_evidence, 0) * weights.directed_evidence as weighted_evidence
    from co_ownership
    inner join weights
        on co_ownership.source_name = weights.source_name
    left join directed
        on
            co_ownership.owned_number = directed.owned_number
            and co_ownership.wanted_number = directed.wanted_number

),

-- What owning one category says for another: it counts in the score, and customers who own the one started with the
-- other more often than customers who do not.
evidence as (

    select
        said.owned_number,
        said.wanted_number,
        -- What owning the category adds, compared with the shop's average customer: in an additive model the Shapley
        -- value of an independent feature (Lundberg and Lee 2017).
        said.weighted_evidence * (1 - owned.penetration) as contribution,
        affinity.category_key as owned_category_key,
        affinity.category_name as owned_category_name,
        affinity.category_label as owned_category_label,
        affinity.source_name as owned_source_name,
        affinity.owner_candidate_count,
        affinity.owner_adopter_count,
        affinity.adoption_lift
    from said
    inner join categories as owned
        on said.owned_number = owned.category_number
    inner join categories as wanted
        on said.wanted_number = wanted.category_number
    inner join affinity
        on
            owned.category_key = affinity.category_key
            and wanted.category_key = affinity.other_category_key
    where
        said.weighted_evidence * (1 - owned.penetration) > 0
        and affinity.adoption_lift >= {{ reason_minimum_adoption_lift() }}

),

ranked as (

    select
        opportunities.opportunity_key,
        opportunities.source_name,
        opportunities.customer_key,
        evidence.owned_category_key,
        evidence.owned_category_name,
        evidence.owned_category_label,
        evidence.owned_source_name,
        evidence.owner_candidate_count,
        evidence.owner_adopter_count,
        evidence.adoption_lift,
        row_number() over (
            partition by opportunities.opportunity_key
            order by evidence.contribution desc, evidence.owned_number asc
        ) as reason_rank
    from opportunities
    inner join customers
        on opportunities.customer_key = customers.customer_key
    -- Those who are new to a shop were scored in the market of linked shops, which has numbers of its own.
    inner join categories
        on
            opportunities.category_key = categories.category_key
            and opportunities.is_new_to_shop = (categories.category_source_name <> categories.source_name)
    inner join adoptions
        on customers.customer_number = adoptions.customer_number
    inner join evidence
        on
            adoptions.category_number = evidence.owned_number
            and categories.category_number = evidence.wanted_number

)

select
    opportunity_key,
    source_name,
    customer_key,
    cast(reason_rank as bigint) as rank,
    owned_category_key,
    owned_category_name,
    owned_category_label,
    adoption_lift,
    owned_source_name,
    owner_candidate_count,
    owner_adopter_count
from ranked
where reason_rank <= {{ reasons_per_opportunity() }}
