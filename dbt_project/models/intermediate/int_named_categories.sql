{#- What stands between the words of a name. -#}
{% set marks = '-/,.&()+*!?"#:;' -%}
{% set words_only = "translate(upper(product_name), '" ~ marks ~ "', '" ~ ' ' * marks | length ~ "')" -%}
with

products as (

    select * from {{ ref('int_staged_products') }}

),

words as (

    select * from {{ ref('category_words') }}

),

-- The words of the name in capitals, each between two spaces.
names as (

    select
        source_name,
        product_name,
        ' ' || trim({{ collapse_white_space(words_only) }}) || ' ' as spaced_name
    from products
    where
        product_name is not null
        and category is null
    group by
        source_name,
        product_name

),

-- The last word of an English name mostly says what the thing is: RED RETROSPOT CAKE STAND.
found as (

    select
        names.source_name,
        names.product_name,
        words.category_name,
        row_number() over (
            partition by names.source_name, names.product_name
            order by
                words.priority asc,
                greatest(
                    {{ dbt.position("' ' || words.word || ' '", 'names.spaced_name') }},
                    {{ dbt.position("' ' || words.word || 'S '", 'names.spaced_name') }}
                ) + length(words.word) desc,
                length(words.word) desc,
                words.word asc
        ) as choice
    from names
    inner join words
        on
            names.source_name = words.source_name
            and (
                {{ dbt.position("' ' || words.word || ' '", 'names.spaced_name') }} > 0
                or {{ dbt.position("' ' || words.word || 'S '", 'names.spaced_name') }} > 0
            )

)

select
    source_name,
    product_name,
    category_name
from found
where choice = 1
