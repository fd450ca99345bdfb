{#- The numbers that decide the scores and the affinities, each with its reason. What a shop may want to change is a variable
    in dbt_project.yml. Several are priors: an estimate from little data (a rate, a mean, a lift) is shrunk toward the average,
    as if this much more data had been seen at that average. -#}


{#- Dates and windows -#}

{#- Weights are learned, and adoptions counted, in the windows before a date, each a horizon long; more windows did not
    improve the score. -#}
{% macro score_learning_windows() -%}
  {{ return(3) }}
{%- endmacro %}

{#- Recent means: within this many horizons before a date. -#}
{% macro score_recent_steps() -%}
  {{ return(3) }}
{%- endmacro %}

{#- The score is tried at each date that the back-test judges, and at the date before the first of them. -#}
{% macro score_last_scored_step() -%}
  {{ return(var('score_backtest_dates') + 1) }}
{%- endmacro %}

{#- An active customer came within this many steps before the date's own. -#}
{% macro score_active_steps() -%}
  {{ return((var('score_active_days') / var('score_horizon_days')) | round(0, 'ceil') | int) }}
{%- endmacro %}

{#- How many earlier dates the score is built for: those that are scored, and before them those that the first of these
    learns from. Dates are numbered back from the newest, a horizon apart: step 0 is the newest. -#}
{% macro score_last_step() -%}
  {{ return(score_last_scored_step() + score_learning_windows()) }}
{%- endmacro %}

{#- The steps from 0 to the last one, a row each. -#}
{% macro steps_up_to(last_step) -%}
    {%- for step in range(last_step + 1) %}
        select {{ step }} as step
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
{%- endmacro %}

{#- The windows that had ended by each date (source_name and step of a relation): the horizon before it and those before that,
    each with its weight, a power of the factor. -#}
{% macro windows_before(dates, factor) -%}
    {%- for horizons in range(1, score_learning_windows() + 1) %}
        select
            source_name,
            step,
            step + {{ horizons }} as window_step,
            power({{ factor }}, {{ horizons - 1 }}) as weight
        from {{ dates }}
        {%- if not loop.last %}
            union all
        {%- endif %}
    {%- endfor %}
{%- endmacro %}

{#- Whether a step lies before a date's, by no more than this many steps. -#}
{% macro is_within(step, date_step, steps) -%}
  {{ date_step }} < {{ step }} and {{ date_step }} + {{ steps }} >= {{ step }}
{%- endmacro %}

{#- Purchases that are not recent at any date share one step: all that matters is that they happened. -#}
{% macro score_capped_step() -%}
  least(step, {{ score_last_step() + score_recent_steps() }})
{%- endmacro %}

{#- Whether a step up to a date (the date's own step or a higher one) is recent at that date. -#}
{% macro is_recent(step, date_step) -%}
  {{ step }} <= {{ date_step }} + {{ score_recent_steps() - 1 }}
{%- endmacro %}

{#- Whether anything about a customer is needed at a date: every active customer at the newest date, and at earlier dates
    those that are learned from, some of whom the back-test tests. -#}
{% macro is_scored_or_sampled() -%}
  is_active and (step = 0 or is_sampled)
{%- endmacro %}

{#- The column of dim_products that is the category at the level that score_level names. -#}
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

{#- A category's adoption rate is shrunk toward the shop's mean rate by the weight of this many adoptions. -#}
{% macro adoption_rate_prior_adoptions() -%}
  {{ return(3) }}
{%- endmacro %}

{#- The adoptions of a new category are extrapolated to a whole horizon as if it had been sold for at least this many days:
    its first days say little about a whole horizon. -#}
{% macro adoption_rate_minimum_days() -%}
  {{ return(var('score_horizon_days') / 2) }}
{%- endmacro %}

{#- The log odds of the adoption rate are needed, so it is never 0; and no category is begun by more than half of the
    candidates in a horizon. The minimum is text, because Jinja would write the number as 1e-06, which turns every number
    that it is combined with into a double. -#}
{% macro minimum_adoption_rate() -%}
  {{ return('0.000001') }}
{%- endmacro %}
{% macro maximum_adoption_rate() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- A share of customers is shrunk toward one in this many: a category without buyers must not get a likelihood of 0, and
    the logarithm of the share is needed. -#}
{% macro share_prior_customers() -%}
  {{ return(50) }}
{%- endmacro %}
{% macro shrunk_share(part, whole) -%}
  ({{ part }} + 1.0) / ({{ whole }} + {{ share_prior_customers() }})
{%- endmacro %}

{#- What new buyers spend in a category is shrunk toward the shop's mean by the weight of this many buyers. -#}
{% macro expected_spend_prior_customers() -%}
  {{ return(5) }}
{%- endmacro %}

{#- A customer's own spending, compared with that of others, is shrunk toward theirs by the weight of this many adoptions. -#}
{% macro spending_prior_adoptions() -%}
  {{ return(5) }}
{%- endmacro %}


{#- What owning one category says about another -#}

{#- The variances that residual co-ownership is divided by are increased by that of this many customers: a category with two
    owners says little. -#}
{% macro co_ownership_prior_customers() -%}
  {{ return(10) }}
{%- endmacro %}

{#- For each category this many others are kept, those with the largest residual co-ownership: with all of them the score is
    slower and not better. -#}
{% macro co_ownership_neighbours() -%}
  {{ return(50) }}
{%- endmacro %}

{#- Expected ownership is a product of shares, not a likelihood: for customers who own nearly all of a small shop it may
    exceed 1. Larger values say nothing more. -#}
{% macro maximum_expected_ownership() -%}
  {{ return(2) }}
{%- endmacro %}

{#- How much the adoptions of an earlier window count in directed evidence, compared with the window after it. -#}
{% macro evidence_window_factor() -%}
  {{ return('0.7') }}
{%- endmacro %}

{#- Added before the logarithm is taken, so that very small values count as equally unlikely. -#}
{% macro minimum_expected_ownership() -%}
  {{ return(0.0001) }}
{%- endmacro %}


{#- Opportunities and their reasons -#}

{#- 90 % of a normal distribution is within this many standard deviations. -#}
{% macro z_of_90_percent() -%}
  {{ return(1.645) }}
{%- endmacro %}

{#- A category is a reason only if its owners begin to buy the other category at least this many times as often. -#}
{% macro reason_minimum_adoption_lift() -%}
  {{ return(1.05) }}
{%- endmacro %}

{#- How many reasons an opportunity has at most. -#}
{% macro reasons_per_opportunity() -%}
  {{ return(3) }}
{%- endmacro %}


{#- Affinity -#}

{#- 95 % of a normal distribution is within this many standard deviations. -#}
{% macro z_of_95_percent() -%}
  {{ return(1.96) }}
{%- endmacro %}

{#- A lift is shrunk toward 1 as if this many more baskets held both, as expected: a pair seen once stays near 1. -#}
{% macro lift_prior_baskets() -%}
  {{ return(5) }}
{%- endmacro %}

{#- The same for the lift of owning both, counted in customers. -#}
{% macro lift_prior_customers() -%}
  {{ return(5) }}
{%- endmacro %}

{#- The adoption rate of owners, and of others, is shrunk toward that of all customers by the weight of this many candidates, or of
    as many as bring this many adopters: in a category that few customers begin, a single adopter would otherwise make owners
    eighty times as likely. -#}
{% macro adoption_lift_prior_candidates() -%}
  {{ return(500) }}
{%- endmacro %}
{% macro adoption_lift_prior_adopters() -%}
  {{ return(5) }}
{%- endmacro %}


{#- Calibration -#}

{#- Bins with the same number of predicted purchases: fewer bins hide where likelihoods are wrong, more hold too few
    purchases. -#}
{% macro calibration_bins() -%}
  {{ return(10) }}
{%- endmacro %}


{#- The regression -#}

{#- In a shop with very many categories fewer customers than score_learning_customers are enough to learn from and to test
    with: as many as have this many pairs with all categories, as 10,000 customers have with 300. But never fewer than the
    least. -#}
{% macro score_learning_pairs() -%}
  {{ return(3000000) }}
{%- endmacro %}
{% macro score_fewest_learning_customers() -%}
  {{ return(500) }}
{%- endmacro %}

{#- In a window with more pairs than this, only a sample of the pairs that were not adopted is learned from
    (score_pairs_per_sampled): a hundred thousand pairs hold thousands of adoptions, and more pairs without one would
    hardly change a weight. -#}
{% macro score_sampled_above_pairs() -%}
  {{ return(100000) }}
{%- endmacro %}

{#- The sample is one in sixteen, and each of its pairs counts sixteen times: a hash begins with one of sixteen letters, and
    the pairs are taken whose customer and category have the same one (sample_letter). In a window with few pairs all have the
    same. -#}
{% macro score_any_letter() -%}
  '*'
{%- endmacro %}
{% macro score_pairs_per_sampled() -%}
  {{ return(16) }}
{%- endmacro %}

{#- The weight of a window, compared with the one after it: the newest window is closest to today, older ones add adoptions. -#}
{% macro score_window_factor() -%}
  {{ return('0.4') }}
{%- endmacro %}

{#- How strongly the regressions shrink weights toward zero: the precision of a Gaussian prior, for a column of variance one;
    an observation at even odds has a precision of a quarter. From 5 to 15 hardly a shop's back-test differs. The intercept is
    shrunk less: a shop's level must be free to move. -#}
{% macro score_weight_precision() -%}
  {{ return(8) }}
{%- endmacro %}

{% macro score_intercept_precision() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- A column that is (almost) the same for all has no variance; this much keeps its weight at zero. -#}
{% macro score_minimum_variance() -%}
  {{ return(0.001) }}
{%- endmacro %}

{#- How much a step of Newton's method may change the log odds, as a root mean square over the rows: with this, 26 shops of
    all kinds settle within seven rounds; without it, a shop with a season of its own ended thousands away. -#}
{% macro regression_longest_step() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- Rounds of Newton's method end when no weight moves by more than this: near the end a round's error is about the square of
    the one before, so that six digits are right, which are kept. -#}
{% macro regression_settled_move() -%}
  {{ return(0.001) }}
{%- endmacro %}

{#- Rounds at most, for the weights of the features: the sample takes five, a shop of fifty customers seven. A signal that
    separates the pairs almost perfectly may need more: see the rounds of int_score_feature_weights. -#}
{% macro score_feature_rounds() -%}
  {{ return(10) }}
{%- endmacro %}

{#- The same for one or two weights that start close to where they end. -#}
{% macro score_calibration_rounds() -%}
  {{ return(6) }}
{%- endmacro %}

{#- Nothing is learned from fewer adoptions than this: a rule of thumb asks for ten for each weight, and the prior makes
    up for the rest. -#}
{% macro score_minimum_adoptions() -%}
  {{ return(30) }}
{%- endmacro %}


{#- How far the learned weights are trusted -#}

{#- What the learned weights say about a pair, beyond its category's adoption rate, counts this much before a window has tested
    it: what is learned from one window rarely holds in full in the next. -#}
{% macro score_usual_trust() -%}
  {{ return(0.9) }}
{%- endmacro %}

{#- The precision of that: a standard deviation of 0.2. -#}
{% macro score_trust_precision() -%}
  {{ return(25) }}
{%- endmacro %}

{#- Where the weights explained less than nothing, by more than chance (a deviance of 3.84 is exceeded by chance in one of
    twenty cases), they are not trusted at all. -#}
{% macro score_notable_deviance() -%}
  {{ return(3.84) }}
{%- endmacro %}

{#- In a shop that has no window to test the weights, or where a test showed nothing. -#}
{% macro score_untested_trust() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- Where more than this share of the expected adoptions is of categories that the windows before did not have, what was
    learned is about another assortment. Nothing is learned from such a window either: what is known about a category that
    has just been launched is unlike what will be known later. -#}
{% macro score_maximum_share_unknown() -%}
  {{ return('1.0 / 3') }}
{%- endmacro %}

{#- What is learned from one crowd of customers may not hold for another: it is said where the active customers are more than
    this many times as many as at the dates learned from, or as few. -#}
{% macro score_notable_growth() -%}
  {{ return(2) }}
{%- endmacro %}

{#- It is also said where the newest window brought more than this many times as many adoptions as were forecast, or as few,
    by more than chance. -#}
{% macro score_notable_miss() -%}
  {{ return('1.5') }}
{%- endmacro %}


{#- The level: how many adoptions a window brings -#}

{#- Windows that the level is followed over. -#}
{% macro level_windows() -%}
  {{ return(6) }}
{%- endmacro %}

{#- How much the level moves from one window to the next: a variance on the log scale, a standard deviation of 10 %. -#}
{% macro level_movement() -%}
  {{ return('0.01') }}
{%- endmacro %}

{#- How much of the mean change from window to window is expected again; less where the windows had few adoptions. -#}
{% macro level_trend_share() -%}
  {{ return(0.5) }}
{%- endmacro %}
{% macro level_trend_prior_adoptions() -%}
  {{ return(200) }}
{%- endmacro %}

{#- Horizons from a window to the same weeks a year earlier. -#}
{% macro level_year_steps() -%}
  {{ return((364 / var('score_horizon_days')) | round | int) }}
{%- endmacro %}

{#- How much of what the same window brought a year ago, above or below the windows before it, is expected again; less where
    that window had few adoptions. -#}
{% macro level_season_share() -%}
  {{ return(0.7) }}
{%- endmacro %}
{% macro level_season_prior_adoptions() -%}
  {{ return(20) }}
{%- endmacro %}

{#- The error of the forecasts is computed as if they had also been off by this much (a factor, on the log scale) at this many
    more dates, which matters where few windows have tested them. It never counts as smaller than the least, and one error
    never as more than the largest. -#}
{% macro level_error_prior() -%}
  {{ return(0.2) }}
{%- endmacro %}
{% macro level_error_prior_windows() -%}
  {{ return(2) }}
{%- endmacro %}
{% macro level_smallest_error() -%}
  {{ return(0.05) }}
{%- endmacro %}
{% macro level_largest_error() -%}
  {{ return(1) }}
{%- endmacro %}

{#- Added to the error (a standard deviation, on the log scale) where all adoptions are expected in categories that the windows
    before did not have; where a share of them, that share of it. -#}
{% macro level_error_of_unknown() -%}
  {{ return(0.5) }}
{%- endmacro %}

{#- How much the error of an earlier forecast counts, compared with the one after it. -#}
{% macro level_error_factor() -%}
  {{ return('0.8') }}
{%- endmacro %}

{#- How many windows of the past the level needs: two years, and those that test its forecasts. -#}
{% macro level_last_step() -%}
  {{ return([2 * level_year_steps() + 2 * level_windows(), score_last_step() + level_windows()] | max) }}
{%- endmacro %}
