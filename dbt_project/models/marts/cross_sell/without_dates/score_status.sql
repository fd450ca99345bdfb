with

shops as (

    {{ active_sources() }}

),

customers as (

    select
        source_name,
        count(distinct customer_key) as customer_count
    from {{ ref('customer_numbers') }}
    group by source_name

),

spending as (

    select
        source_name,
        count(distinct customer_key) as buyer_count,
        max(last_purchase_date) as newest_purchase_date
    from {{ ref('fct_category_spending') }}
    group by source_name

),

scored as (

    select
        source_name,
        count(distinct customer_key) as scored_customer_count,
        max(as_of_date) as as_of_date
    from {{ ref('customer_opportunities') }}
    group by source_name

),

-- All opportunities of a shop have one basis, but for those of new categories and of persons new to the shop.
based as (

    select
        source_name,
        max(score_basis) as score_basis
    from {{ ref('customer_opportunities') }}
    where
        not is_new_to_shop
        and score_basis <> 'category too new'
    group by source_name

),

joined as (

    select
        shops.source_name,
        case when {{ is_undated('shops.source_name') }} then 'totals without dates' else 'purchase lines' end
            as spending_basis,
        coalesce(customers.customer_count, 0) as customer_count,
        coalesce(spending.buyer_count, 0) as buyer_count,
        spending.newest_purchase_date,
        coalesce(scored.scored_customer_count, 0) as scored_customer_count,
        scored.as_of_date,
        case when scored.source_name is not null then coalesce(based.score_basis, 'category too new') end
            as score_basis,
        case
            when scored.source_name is not null then 'scored'
            when {{ is_undated('shops.source_name') }} then 'no dates'
            when spending.source_name is null then 'no purchases'
            else 'nothing left to offer'
        end as status
    from shops
    left join customers
        on shops.source_name = customers.source_name
    left join spending
        on shops.source_name = spending.source_name
    left join scored
        on shops.source_name = scored.source_name
    left join based
        on shops.source_name = based.source_name

)

select
    source_name,
    spending_basis,
    cast(customer_count as bigint) as customer_count,
    cast(buyer_count as bigint) as buyer_count,
    newest_purchase_date,
    cast(scored_customer_count as bigint) as scored_customer_count,
    as_of_date,
    status,
    case status
        when 'scored'
            then
                case score_basis
                    when 'learned' then 'customer_opportunities has the likelihoods.'
                    when 'customers changed'
                        then
                            'The shop has less than half or more than twice as many active customers as when the '
                            || 'likelihoods were learned, so they may not hold.'
                    when 'level changed'
                        then
                            'The newest window brought far more or fewer adoptions than expected: the ranking is '
                            || 'better than the level.'
                    when 'assortment changed'
                        then
                            'Over a third of the adoptions to come are expected in categories that are too new to '
                            || 'learn from, so the likelihoods are the adoption rates of the categories.'
                    when 'no signal'
                        then
                            'Nothing known about customers helped to predict, so the likelihoods are the adoption '
                            || 'rates of the categories.'
                    else
                        'There is too little history to learn from, so the likelihoods are the adoption rates so far.'
                end
        when 'no dates'
            then
                'The shop sends what customers spent in each category, and not when. A likelihood for the next days '
                || 'cannot be learned from that, so there is none. category_gaps lists what similar customers buy.'
        when 'no purchases' then 'No purchase of the shop counts, so there is nothing to learn from.'
        else 'Every customer who bought lately has bought in every category.'
    end as description,
    score_basis
from joined
