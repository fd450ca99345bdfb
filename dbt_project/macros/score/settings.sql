{#- How many earlier dates the score is built for: those that the back-test judges, and before them those that the
    first of these learns from. Dates are numbered back from the newest, a horizon apart: step 0 is the newest. -#}
{% macro score_last_step() -%}
  {{ return(var('score_backtest_dates') + score_learning_windows()) }}
{%- endmacro %}

{#- Purchases older than any date's features look (three steps back) share one step: all that matters of them is that
    they happened. -#}
{% macro score_capped_step() -%}
  least(step, {{ score_last_step() + 3 }})
{%- endmacro %}

{#- Of the customers at a date, those the score is about: the newest date is scored for every active customer; earlier
    ones serve to learn and to judge. -#}
{% macro is_scored() -%}
  is_active and (step = 0 or is_sampled)
{%- endmacro %}

{#- Weights are learned from the three windows before a date, each a horizon long; the newest counts most. -#}
{% macro score_learning_windows() -%}
  {{ return(3) }}
{%- endmacro %}

{#- The column of dim_products that holds what the score calls a category, by the name that score_level gives it. -#}
{% macro score_level_column() -%}
  {%- set columns = {
    'department': 'department',
    'category': "nullif(category_name, 'Unknown')",
    'product_type': 'product_type',
    'brand': 'brand',
    'product': 'product_id',
  } -%}
  {%- if var('score_level') not in columns -%}
    {{ exceptions.raise_compiler_error(
      "score_level is '" ~ var('score_level') ~ "'; it must be one of " ~ columns | join(', ')
    ) }}
  {%- endif -%}
  {{ columns[var('score_level')] }}
{%- endmacro %}
