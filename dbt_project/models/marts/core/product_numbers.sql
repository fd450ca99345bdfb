with

products as (

    select * from {{ ref('int_products') }}
    where rejection_reason is null

),

bought as (

    select distinct
        source_name,
        product_id
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is null

),

-- A product that only purchases name becomes a product too, an inferred member, so that no line is lost.
inferred as (

    select
        bought.source_name,
        bought.product_id
    from bought
    left join products
        on
            bought.source_name = products.source_name
            and bought.product_id = products.product_id
    where products.product_id is null

),

all_products as (

    select
        source_name,
        product_id,
        product_name,
        department,
        category_name,
        product_type,
        brand,
        manufacturer_id,
        package_size,
        is_merchandise,
        {{ is_derived('products') }} as is_inferred
    from products

    union all

    select
        source_name,
        product_id,
        cast(null as {{ dbt.type_string() }}) as product_name,
        cast(null as {{ dbt.type_string() }}) as department,
        cast(null as {{ dbt.type_string() }}) as category_name,
        cast(null as {{ dbt.type_string() }}) as product_type,
        cast(null as {{ dbt.type_string() }}) as brand,
        cast(null as {{ dbt.type_string() }}) as manufacturer_id,
        cast(null as {{ dbt.type_string() }}) as package_size,
        not {{ is_non_merchandise_product('inferred.product_id', 'inferred.source_name') }} as is_merchandise,
        true as is_inferred
    from inferred

),

identified as (

    select
        all_products.*,
        {{ identity_key('product', 'identities.product', 'all_products.product_id', 'all_products.source_name') }}
            as product_key
    from all_products
    left join {{ ref('product_identities') }} as identities
        on
            all_products.source_name = identities.source_name
            and all_products.product_id = identities.product_id

)

select
    source_name,
    product_id,
    product_key,
    product_name,
    department,
    {{ source_key("coalesce(category_name, 'Unknown')") }} as category_key,
    coalesce(category_name, 'Unknown') as category_name,
    product_type,
    brand,
    manufacturer_id,
    package_size,
    is_merchandise,
    is_inferred,
    -- What a catalogue says counts before what only purchases name.
    row_number() over (
        partition by product_key
        order by is_inferred, {{ source_position('source_name') }}, source_name, product_id
    ) as position
from identified
