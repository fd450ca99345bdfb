{#- One cell of the log-likelihood ratio of a table of counts: observed * ln(observed / expected); an empty cell adds 0. -#}
{% macro surprise(observed, expected) -%}
  case when {{ observed }} > 0 then {{ observed }} * ln({{ observed }} / ({{ expected }})) else 0 end
{%- endmacro %}
