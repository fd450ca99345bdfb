{#- What the score knows about a customer c, a category k that they never bought, and their pair p; all as of one date.
    The regressions start from the category's adoption rate; it is a feature as well, so that they can rely on it less
    where it comes from few adoptions. -#}
{% macro score_features() -%}
  {{ return({
    'adoption_log_odds': log_odds('k.adoption_rate'),
    'residual_co_ownership': damped('p.residual_co_ownership'),
    'expected': expected_ownership(),
    'log_expected': 'ln(least(' ~ expected_ownership() ~ ', 1) + ' ~ minimum_expected_ownership() ~ ')',
    'residual_by_expected': damped('p.residual_co_ownership') ~ ' * ' ~ expected_ownership(),
    'directed_evidence': damped('p.directed_evidence'),
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

{#- Pairs with the two features that come from what the customer owns: the sums over the owned categories (int_score_evidence),
    compared with what is usual (int_score_usual_evidence). Both relations have step, customer_number and category_number. -#}
{% macro with_evidence(pairs, sums) -%}
    select
        {{ pairs }}.*,
        coalesce({{ sums }}.residual_co_ownership, 0)
        - {{ pairs }}.owned_count * coalesce(usual.mean_residual_co_ownership, 0) as residual_co_ownership,
        coalesce({{ sums }}.directed_evidence, 0) + coalesce(usual.evidence_of_others, 0) as directed_evidence
    from {{ pairs }}
    left join {{ sums }}
        on
            {{ pairs }}.step = {{ sums }}.step
            and {{ pairs }}.customer_number = {{ sums }}.customer_number
            and {{ pairs }}.category_number = {{ sums }}.category_number
    left join {{ ref('int_score_usual_evidence') }} as usual
        on
            {{ pairs }}.step = usual.step
            and {{ pairs }}.category_number = usual.wanted_number
{%- endmacro %}

{#- The features that say what a customer's other categories mean for one, and those of the customer's habits. The others are
    those of the category alone. -#}
{% macro score_feature_groups() -%}
  {%- set groups = {
    'ownership': ['residual_co_ownership', 'residual_by_expected', 'directed_evidence'],
    'habits': ['expected', 'log_expected', 'pace', 'recent_visits', 'visits', 'recency', 'breadth', 'newness'],
  } -%}
  {{ return(groups) }}
{%- endmacro %}

{#- A value on a log scale on both sides of zero: large values count only a little more. -#}
{% macro damped(value) -%}
  {{ return('sign(' ~ value ~ ') * ln(1 + abs(' ~ value ~ '))') }}
{%- endmacro %}

{#- How likely the customer would be to own the category if only the number of categories they own and its share of all
    ownership mattered. -#}
{% macro expected_ownership() -%}
  {{ return('least(coalesce(c.owned_count * k.share_of_ownership, 0), ' ~ maximum_expected_ownership() ~ ')') }}
{%- endmacro %}

{#- From a likelihood to its log odds. -#}
{% macro log_odds(likelihood) -%}
  ln({{ likelihood }} / (1 - {{ likelihood }}))
{%- endmacro %}

{#- From log odds to a likelihood; beyond 30 it is 0 or 1 to thirteen digits, and exp() could overflow. -#}
{% macro likelihood(log_odds) -%}
  1 / (1 + exp(-least(30, greatest(-30, {{ log_odds }}))))
{%- endmacro %}
