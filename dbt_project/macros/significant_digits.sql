{#- The number with so many significant digits: 0.012345 with three of them is 0.0123. Zero stays zero and null stays null.
    Spark's round() takes only a constant number of decimals, so the number is brought to that many digits before the point,
    rounded, and brought back. -#}
{% macro significant_digits(expression, digits) -%}
{%- set value = 'cast(' ~ expression ~ ' as double)' -%}
{%- set scale = 'power(10, ' ~ (digits - 1) ~ ' - floor(log10(abs(nullif(' ~ value ~ ', 0)))))' -%}
case
  when {{ expression }} = 0 then cast(0 as double)
  else round({{ value }} * {{ scale }}) / {{ scale }}
end
{%- endmacro %}
