with

customers as (

    select
        source_name,
        customer_id
    from {{ ref('int_customers') }}
    where rejection_reason is null

),

-- A customer that only purchases or totals know is a customer all the same: an inferred member, so that nothing is
-- lost. Taken from the lines, for a basket names only one customer, should a source have sent it with two.
bought as (

    select
        source_name,
        customer_id
    from {{ ref('int_purchase_lines') }}
    where rejection_reason is null or rejection_reason = 'return'

    union distinct

    select
        source_name,
        customer_id
    from {{ ref('int_undated_customers') }}

),

numbers as (

    select
        source_name,
        customer_id,
        {{ is_derived('customers') }} as is_inferred
    from customers

    union all

    select
        bought.source_name,
        bought.customer_id,
        true as is_inferred
    from bought
    left join customers
        on
            bought.source_name = customers.source_name
            and bought.customer_id = customers.customer_id
    where customers.customer_id is null

),

identified as (

    select
        numbers.source_name,
        numbers.customer_id,
        numbers.is_inferred,
        identities.person,
        {{ identity_key('person', 'identities.person', 'numbers.customer_id', 'numbers.source_name') }} as customer_key
    from numbers
    left join {{ ref('customer_identities') }} as identities
        on
            numbers.source_name = identities.source_name
            and numbers.customer_id = identities.customer_id

)

select
    source_name,
    customer_id,
    customer_key,
    person,
    is_inferred,
    row_number() over (
        partition by customer_key
        order by {{ source_position('source_name') }}, source_name, customer_id
    ) as position
from identified
