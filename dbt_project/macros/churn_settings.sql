{#- Numbers that decide the likelihood of churn, each with its reason. -#}

{#- Of fewer customers than this nothing is learned. -#}
{% macro churn_least_customers() -%}
  {{ return(30) }}
{%- endmacro %}

{#- A customer's usual gap is the mean of their own gaps and this many of the shop's typical gaps: somebody who came two or
    three times has no pace of their own yet. -#}
{% macro churn_prior_gaps() -%}
  {{ return(2) }}
{%- endmacro %}

{#- Customers are put into this many bins of equal size by how overdue they are; each must hold enough to have a rate. -#}
{% macro churn_bins() -%}
  {{ return(20) }}
{%- endmacro %}

{#- Each bin counts as if it held this many more customers who lapsed at the average rate: no likelihood becomes 0 or 1. -#}
{% macro churn_prior_customers() -%}
  {{ return(10) }}
{%- endmacro %}
