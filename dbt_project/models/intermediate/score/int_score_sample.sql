with

pairs as (

    select pairs.*
    from {{ ref('int_score_pairs') }} as pairs
    inner join {{ ref('int_score_customers') }} as customers
        on
            pairs.step = customers.step
            and pairs.customer_number = customers.customer_number
    where customers.is_sampled

),

customers as (

    select * from {{ ref('int_score_customers') }}

),

categories as (

    select * from {{ ref('int_score_categories') }}

),

windows as (

    select
        source_name,
        step,
        count(*) > {{ score_sampled_above_pairs() }} as is_sampled
    from pairs
    group by
        source_name,
        step

),

-- Where there are many pairs that were not adopted, a sample of them is enough: those whose customer and category have
-- hashes that begin with the same letter.
sampled as (

    select
        p.source_name,
        p.step,
        p.customer_number,
        p.category_number,
        p.adopted,
        case
            when windows.is_sampled and coalesce(p.adopted, 0) = 0 then {{ score_pairs_per_sampled() }}
            else 1
        end as weight,
        case
            when not windows.is_sampled then 1
            when c.hash_letter = k.hash_letter then {{ score_pairs_per_sampled() }}
            else 0
        end as weight_without_outcome,
        {%- for feature, expression in score_features().items() %}
            {{ expression }} as {{ feature }},
        {%- endfor %}
        {{ log_odds('k.adoption_rate') }} as base
    from pairs as p
    inner join windows
        on
            p.source_name = windows.source_name
            and p.step = windows.step
    inner join customers as c
        on
            p.step = c.step
            and p.customer_number = c.customer_number
    inner join categories as k
        on
            p.step = k.step
            and p.category_number = k.category_number
    where
        p.adopted = 1
        or not windows.is_sampled
        or c.hash_letter = k.hash_letter

)

select * from sampled
