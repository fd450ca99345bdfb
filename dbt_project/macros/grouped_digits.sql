{#- A whole number as text for people, with commas between thousands: 3,840. -#}
{% macro grouped_digits(number) -%}
  {{ return(adapter.dispatch('grouped_digits', 'next_aisle')(number)) }}
{%- endmacro %}

{% macro duckdb__grouped_digits(number) -%}
  format('{:,}', cast({{ number }} as bigint))
{%- endmacro %}

{% macro spark__grouped_digits(number) -%}
  format_number(cast({{ number }} as bigint), 0)
{%- endmacro %}
