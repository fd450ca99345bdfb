{{ config(enabled='online_retail' in var('sources')) }}
-- The shop sends no customer file: its customers are those of its invoices.
{{ customers_from_purchases(
    'online_retail',
    customer_id=online_retail_customer_id(),
    purchased_at='invoice_date',
    country=clean_key('country')
) }}
