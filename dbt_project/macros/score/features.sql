{#- What the score knows of a customer c and a category k they never bought, and p, the pair; all as of one date.
    Regressions start from the category's adoption rate; that it is a feature as well lets them trust it less where it
    rests on few adoptions. -#}
{% macro score_features() -%}
  {{ return({
    'adoption_log_odds': log_odds('k.adoption_rate'),
    'surplus': compressed_surplus(),
    'expected': expected_ownership(),
    'log_expected': 'ln(least(' ~ expected_ownership() ~ ', 1) + ' ~ least_expected_ownership() ~ ')',
    'surplus_by_expected': compressed_surplus() ~ ' * ' ~ expected_ownership(),
    'recent_popularity': 'k.recent_popularity',
    'popularity': 'k.popularity',
    'pace': 'ln(1 + c.adopted_recent)',
    'recent_visits': 'ln(1 + c.visits_recent)',
    'visits': 'ln(1 + c.visits_all)',
    'recency': 'ln(1 + c.recency_days)',
    'breadth': 'ln(1 + c.owned_count)',
    'newness': 'greatest(0, 1 - cast(c.tenure_days as double) / ' ~ score_recent_steps() * var('score_horizon_days') ~ ')',
  }) }}
{%- endmacro %}

{#- What the categories they own say about it; what they say very loudly counts little more. -#}
{% macro compressed_surplus() -%}
  {{ return('sign(p.surplus) * ln(1 + abs(p.surplus))') }}
{%- endmacro %}

{#- How likely the customer were to own the category if only how much they own and how widely it is owned mattered. -#}
{% macro expected_ownership() -%}
  {{ return('least(coalesce(c.owned_count * k.share_of_ownership, 0), ' ~ greatest_expected_ownership() ~ ')') }}
{%- endmacro %}

{#- From a likelihood to its log odds. -#}
{% macro log_odds(likelihood) -%}
  ln({{ likelihood }} / (1 - {{ likelihood }}))
{%- endmacro %}

{#- From log odds to a likelihood; beyond 30 it is 0 or 1 to thirteen digits, and exp() would overflow. -#}
{% macro likelihood(log_odds) -%}
  1 / (1 + exp(-least(30, greatest(-30, {{ log_odds }}))))
{%- endmacro %}
