{{ config(materialized='regression', meta={'rounds': score_calibration_rounds()}) }}
-- How much of what was learned held up in the window that tests it.
{% set starts %}(
    {{ distance_to_level(ref('int_score_trials')) }}
) as starts{% endset %}
{{ newton_round(
    ref('int_score_trials'),
    'shift',
    'distance_to_level',
    {'extra_trust': 'distance'},
    {'extra_trust': score_trust_precision()},
    starts=starts
) }}
