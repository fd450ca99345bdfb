{#- The number rounded to significant digits: 0.012345 to three of them is 0.0123. Zero stays zero and null stays null.
    Spark's round() only takes a constant number of decimals. So the number is multiplied by the power of ten that brings
    these digits before the decimal point, rounded, and divided again. -#}
{% macro significant_digits(expression, digits) -%}
{%- set value = 'cast(' ~ expression ~ ' as double)' -%}
{%- set scale = 'power(10, ' ~ (digits - 1) ~ ' - floor(log10(abs(nullif(' ~ value ~ ', 0)))))' -%}
case
  when {{ expression }} = 0 then cast(0 as double)
  else round({{ value }} * {{ scale }}) / {{ scale }}
end
{%- endmacro %}
