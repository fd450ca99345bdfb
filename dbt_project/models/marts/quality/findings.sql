with

customers as (

    select * from {{ ref('int_customers') }}
    where rejection_reason is null

),

-- Only of rows that count: what is wrong in a rejected row reaches no other table. A delivery may have a row twice.
staged as (

    select distinct
        findings.source_name,
        findings.table_name,
        findings.record_id,
        findings.column_name,
        findings.finding,
        findings.sent_value,
        findings.kept_value,
        findings.why,
        findings.delivery,
        findings.load_id
    from {{ ref('int_staged_findings') }} as findings
    inner join customers
        on
            findings.table_name = 'customers'
            and findings.source_name = customers.source_name
            and findings.record_id = customers.customer_id
            and findings.delivery = customers.delivery
            and findings.load_id = customers.load_id

),

words as (

    {%- for column in ['education', 'marital_status'] %}
        select
            source_name,
            'customers' as table_name,
            customer_id as record_id,
            '{{ column }}' as column_name,
            'replaced_word' as finding,
            sent_{{ column }} as sent_value,
            {{ column }} as kept_value,
            why_{{ column }} as why,
            delivery,
            load_id
        from customers
        where why_{{ column }} is not null
        {%- if not loop.last %}

            union all

        {%- endif %}
    {%- endfor %}

)

select * from staged
union all
select * from words
