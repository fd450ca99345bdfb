{#- Numbers that decide the churn probability, each with its reason. -#}

{#- Nothing is learned from fewer customers than this. -#}
{% macro churn_minimum_customers() -%}
  {{ return(30) }}
{%- endmacro %}

{#- A customer's expected gap is the mean of their own gaps and this many of the shop's typical gaps: two or three visits say
    little about a customer's own gap. -#}
{% macro churn_prior_gaps() -%}
  {{ return(2) }}
{%- endmacro %}

{#- Customers are put into this many bins of equal size by how overdue they are; each must hold enough of them for a rate. -#}
{% macro churn_bins() -%}
  {{ return(20) }}
{%- endmacro %}

{#- Each bin counts as if it held this many more customers who lapsed at the average rate: no probability becomes 0 or 1. -#}
{% macro churn_prior_customers() -%}
  {{ return(10) }}
{%- endmacro %}
