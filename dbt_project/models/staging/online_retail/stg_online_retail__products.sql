{{ config(enabled='online_retail' in var('sources')) }}
-- The shop sends no product file: its products are those of its invoices.
{{ products_from_purchases(
    'online_retail',
    product_id=clean_key('stock_code', case='upper'),
    purchased_at='invoice_date',
    product_name=clean_key('description'),
    is_sale='quantity > 0 and unit_price > 0'
) }}
