{#- The numbers that decide what the score and the affinities say, each with its reason. What a shop may want to change is a
    variable in dbt_project.yml. Several are priors: an estimate that rests on little data (a rate, a mean, a lift) is
    shrunk towards the usual value, as if this much more data had been seen, all of it usual. -#}


{#- Dates and windows -#}

{#- Weights are learned, and adoptions counted, in the windows before a date, each a horizon long; more of them did not
    make the score better. -#}
{% macro score_learning_windows() -%}
  {{ return(3) }}
{%- endmacro %}

{#- Recent means within this many horizons before a date. -#}
{% macro score_recent_steps() -%}
  {{ return(3) }}
{%- endmacro %}

{#- How many earlier dates the score is built for: those that the back-test judges, and before them those that the
    first of these learns from. Dates are numbered back from the newest, a horizon apart: step 0 is the newest. -#}
{% macro score_last_step() -%}
  {{ return(var('score_backtest_dates') + score_learning_windows()) }}
{%- endmacro %}

{#- Purchases older than any date's recent ones share one step: all that matters of them is that they happened. -#}
{% macro score_capped_step() -%}
  least(step, {{ score_last_step() + score_recent_steps() }})
{%- endmacro %}

{#- Of what had happened by a date (its step is the date's own or higher), what is recent. -#}
{% macro is_recent(step, date_step) -%}
  {{ step }} <= {{ date_step }} + {{ score_recent_steps() - 1 }}
{%- endmacro %}

{#- Of the customers at a date, those the score is about: the newest date is scored for every active customer; earlier
    ones serve to learn and to judge. -#}
{% macro is_scored() -%}
  is_active and (step = 0 or is_sampled)
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


{#- Categories -#}

{#- A category's adoption rate is shrunk towards the shop's mean rate by the weight of this many adoptions. -#}
{% macro adoption_rate_prior_adoptions() -%}
  {{ return(3) }}
{%- endmacro %}

{#- The adoptions of a young category are extrapolated to a whole horizon from at least this many days: its first days say
    little about a whole horizon. -#}
{% macro adoption_rate_least_days() -%}
  {{ return(var('score_horizon_days') / 2) }}
{%- endmacro %}

{#- Log odds are taken of the adoption rate: it is never 0, and no category is begun by more than half in a horizon. The
    first is text, for Jinja would write the number as 1e-06, which makes all it meets a double. -#}
{% macro least_adoption_rate() -%}
  {{ return('0.000001') }}
{%- endmacro %}
{% macro greatest_adoption_rate() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- A share of customers is shrunk towards one in this many: a category without buyers must not get a likelihood of 0, and
    the logarithm of the share is taken. -#}
{% macro share_prior_customers() -%}
  {{ return(50) }}
{%- endmacro %}
{% macro drawn_share(part, whole) -%}
  ({{ part }} + 1.0) / ({{ whole }} + {{ share_prior_customers() }})
{%- endmacro %}

{#- What new buyers spend in a category is shrunk towards the shop's mean by the weight of this many buyers. -#}
{% macro expected_spend_prior_customers() -%}
  {{ return(5) }}
{%- endmacro %}


{#- What owning one category says about another -#}

{#- The variance that a surplus is divided by is increased by that of this many customers: a category with two owners says
    little. -#}
{% macro surplus_prior_customers() -%}
  {{ return(10) }}
{%- endmacro %}

{#- Of each category the others that say most about it are enough: with all of them the score is no better, only
    slower. -#}
{% macro surplus_neighbours() -%}
  {{ return(50) }}
{%- endmacro %}

{#- Expected ownership is a product of shares, not a likelihood: for customers who own nearly all of a small shop it may
    exceed 1. Beyond this it says no more. -#}
{% macro greatest_expected_ownership() -%}
  {{ return(2) }}
{%- endmacro %}

{#- Added before the logarithm is taken: below this all categories are equally unlikely. -#}
{% macro least_expected_ownership() -%}
  {{ return(0.0001) }}
{%- endmacro %}


{#- Opportunities and their reasons -#}

{#- 90 % of a normal distribution lie within this many standard deviations. -#}
{% macro z_of_90_percent() -%}
  {{ return(1.645) }}
{%- endmacro %}

{#- The drift of a shop whose back-test has few dates is computed as if the level had been off by this much (a factor, on the
    log scale) at this many more dates. -#}
{% macro drift_prior() -%}
  {{ return(0.2) }}
{%- endmacro %}
{% macro drift_prior_dates() -%}
  {{ return(2) }}
{%- endmacro %}

{#- A category is named as a reason only when its owners begin to buy the other one at least this many times as often. -#}
{% macro reason_least_adoption_lift() -%}
  {{ return(1.05) }}
{%- endmacro %}

{#- A list of offers has room for this many reasons. -#}
{% macro reasons_per_opportunity() -%}
  {{ return(3) }}
{%- endmacro %}


{#- Affinity -#}

{#- 95 % of a normal distribution lie within this many standard deviations. -#}
{% macro z_of_95_percent() -%}
  {{ return(1.96) }}
{%- endmacro %}

{#- A lift is shrunk towards 1 as if this many more baskets held both, as expected: a pair seen once stays near 1. -#}
{% macro lift_prior_baskets() -%}
  {{ return(5) }}
{%- endmacro %}

{#- The adoption rate of owners, and of others, is shrunk towards that of all customers by the weight of this many candidates,
    or of as many as bring this many adopters: where few customers begin at all, a single one would otherwise make owners
    eighty times as likely. -#}
{% macro adoption_lift_prior_candidates() -%}
  {{ return(500) }}
{%- endmacro %}
{% macro adoption_lift_prior_adopters() -%}
  {{ return(5) }}
{%- endmacro %}


{#- Calibration -#}

{#- Bins with equally many predicted purchases: fewer hide where likelihoods go wrong, more hold too few purchases. -#}
{% macro calibration_bins() -%}
  {{ return(10) }}
{%- endmacro %}


{#- The regression -#}

{#- In a window with more pairs than this, only a sample of the pairs that were not adopted is learned from
    (score_pairs_per_sampled): a hundred thousand pairs hold thousands of adoptions, and more pairs without one would
    hardly move a weight. -#}
{% macro score_sampled_above_pairs() -%}
  {{ return(100000) }}
{%- endmacro %}

{#- The sample is one in sixteen, and each of its pairs counts sixteen times: a hash begins with one of sixteen letters, and
    the pairs are taken whose customer and category have the same one (hash_letter). -#}
{% macro score_pairs_per_sampled() -%}
  {{ return(16) }}
{%- endmacro %}

{#- What a window counts for, compared with the one after it. The newest knows today's level best, older ones hold more
    adoptions; halves made little difference. -#}
{% macro score_window_factor() -%}
  {{ return('1 / 3') }}
{%- endmacro %}

{#- How firmly the regressions hold weights near zero: the precision of a Gaussian prior, for a column of variance one, in
    units of one observation at even odds times four. Five matters to a shop with hundreds of adoptions, and to no
    larger one. The intercept is held less: a shop's level must be free to move. -#}
{% macro score_weight_precision() -%}
  {{ return(5) }}
{%- endmacro %}

{% macro score_intercept_precision() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- A column that is (almost) the same for all has no variance; this much keeps its weight at zero. -#}
{% macro score_least_variance() -%}
  {{ return(0.001) }}
{%- endmacro %}

{#- Rounds of Newton's method for the weights of the features: five settle eight digits on the sample, of which six are kept.
    A signal so strong that it leaves nothing to chance may need more: see the rounds of int_score_feature_weights. -#}
{% macro score_feature_rounds() -%}
  {{ return(6) }}
{%- endmacro %}

{#- Rounds for one or three weights that start near where they end: four settle eight digits on the sample, and four on a
    shop of a hundred customers. -#}
{% macro score_calibration_rounds() -%}
  {{ return(4) }}
{%- endmacro %}

{#- From fewer adoptions than this nothing is learned: a rule of thumb asks for ten for each weight, and the prior makes
    up for the rest. -#}
{% macro score_least_adoptions() -%}
  {{ return(30) }}
{%- endmacro %}

{#- Twice the log likelihood that each feature must add on average for the weights to be used: Akaike's criterion. A
    feature that says nothing adds about half of it. -#}
{% macro score_deviance_per_feature() -%}
  {{ return(2) }}
{%- endmacro %}
