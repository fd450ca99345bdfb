with

delivered as (

    {{ delivered_rows('customers') }}

),

-- Rows that the source itself no longer counts do not compete with the others.
ranked as (

    select
        *,
        max(load_id) over (partition by source_name, customer_id, set_aside_reason) as newest_load_id,
        row_number() over (
            partition by source_name, customer_id, set_aside_reason
            order by
                load_id desc,
                age_band asc,
                income_band asc,
                marital_status asc,
                household_size asc,
                household_composition asc,
                children asc,
                home_ownership asc,
                birth_year asc,
                education asc,
                income asc,
                country asc,
                stated_purchases asc,
                stated_recency_days asc
        ) as version_number
    from delivered

),

with_reasons as (

    select
        *,
        {{ source_key('customer_id') }} as customer_key,
        case
            when set_aside_reason is not null then set_aside_reason
            when customer_id is null and is_superseded then 'superseded_delivery'
            when customer_id is null then 'missing_customer_id'
            when load_id < newest_load_id then 'superseded_version'
            when version_number > 1 then 'repeated_customer_id'
        end as rejection_reason
    from ranked

)

-- The words that count: customer_words replaces those that say nothing, or the same as another one.
select
    with_reasons.source_name,
    with_reasons.customer_id,
    with_reasons.customer_key,
    with_reasons.birth_year,
    with_reasons.age_band,
    {%- for column in ['education', 'marital_status'] %}
        case when {{ column }}_words.word is null then with_reasons.{{ column }} else {{ column }}_words.meaning end
            as {{ column }},
        with_reasons.{{ column }} as sent_{{ column }},
        {{ column }}_words.why as why_{{ column }},
    {%- endfor %}
    with_reasons.income,
    with_reasons.income_band,
    with_reasons.household_size,
    with_reasons.household_composition,
    with_reasons.children,
    with_reasons.home_ownership,
    with_reasons.country,
    with_reasons.stated_purchases,
    with_reasons.stated_recency_days,
    with_reasons.set_aside_reason,
    with_reasons.version_number,
    with_reasons.rejection_reason,
    with_reasons.delivery,
    with_reasons.load_id
from with_reasons
left join {{ ref('customer_words') }} as education_words
    on
        with_reasons.source_name = education_words.source_name
        and with_reasons.education = education_words.word
        and education_words.column_name = 'education'
left join {{ ref('customer_words') }} as marital_status_words
    on
        with_reasons.source_name = marital_status_words.source_name
        and with_reasons.marital_status = marital_status_words.word
        and marital_status_words.column_name = 'marital_status'
