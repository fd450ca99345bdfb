with

sent as (

    select distinct
        source_name,
        country
    from {{ ref('int_customers') }}
    where
        rejection_reason is null
        and trim(country) <> ''

),

spelled as (

    select
        source_name,
        country,
        trim({{ collapse_white_space('country') }}) as name_as_sent,
        upper(trim({{ collapse_white_space('country') }})) as spelling
    from sent

),

countries as (

    select * from {{ ref('countries') }}

),

names as (

    {%- for column in ['country_name', 'official_name', 'country_code', 'alpha3_code'] %}
        select
            upper({{ column }}) as spelling,
            country_code
        from countries
        {%- if not loop.last %}
            union distinct
        {%- endif %}
    {%- endfor %}

),

aliases as (

    select
        source_name,
        upper(spelling) as spelling,
        country_code
    from {{ ref('country_aliases') }}

),

-- The shop's own alias counts first, then one for all shops, then the names and codes.
matched as (

    select
        spelled.source_name,
        spelled.country,
        spelled.name_as_sent,
        case
            when own_alias.spelling is not null then own_alias.country_code
            when common_alias.spelling is not null then common_alias.country_code
            else names.country_code
        end as country_code,
        coalesce(own_alias.spelling, common_alias.spelling, names.spelling) is not null as is_known
    from spelled
    left join aliases as own_alias
        on
            spelled.source_name = own_alias.source_name
            and spelled.spelling = own_alias.spelling
    left join aliases as common_alias
        on
            spelled.spelling = common_alias.spelling
            and common_alias.source_name is null
    left join names
        on spelled.spelling = names.spelling

)

select
    matched.source_name,
    matched.country,
    matched.country_code,
    coalesce(countries.country_name, matched.name_as_sent) as country_name,
    countries.region,
    countries.subregion,
    matched.is_known
from matched
left join countries
    on matched.country_code = countries.country_code
